"""The live page of Regions in Dask's dashboard."""
