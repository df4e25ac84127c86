"""Activations with a periodic part."""
