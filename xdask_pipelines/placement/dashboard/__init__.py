"""Regions, live, as a page of Dask's dashboard."""
