"""Checks every elementwise function on every float32: `python -m accuracy`."""
