"""Smooth activations made of square roots and hyperbolic functions."""
