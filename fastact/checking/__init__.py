"""What results are checked against, and where: `python -m fastact accuracy`, the tests.

It needs mpmath: ``pip install "fastact[accuracy]"``.
"""
