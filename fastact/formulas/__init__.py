"""The formulas: the language they are written in, the catalogue, the translator.

Nothing here needs NumPy or the compiled modules: `setup.py` imports this package by
itself to generate the C and Numba source.
"""
