"""The wall around Dask: all that Dask and distributed do not document stands here, named after what we want of it.

Nothing else in this package imports these parts of Dask, writes to its states or replaces its methods (a test holds that).
What a new version of Dask changes is mended here, and `startup_checks` finds it when a scheduler or worker starts.
"""
