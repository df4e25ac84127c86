"""What `python -m fastact` does: one module for each command that is more than a call."""
