"""Adapters to other packages, each imported only when asked for.

Those of dask and xarray are when a function gets such an array. None of these packages is
needed by fastact: ``fastact.integrations.NAME`` imports NAME, and says how to install it
where it is missing.
"""
