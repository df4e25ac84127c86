"""Adapters to other packages, each imported only when asked for.

None of these packages is needed by fastact: ``fastact.integrations.NAME`` imports NAME, and
says how to install it where it is missing.
"""
