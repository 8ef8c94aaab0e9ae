"""The wall around Dask: all uses of undocumented parts of Dask and distributed are here, named after their purpose.

No other module of this package imports these parts of Dask, writes to its states or replaces its methods (a test checks
that). If a new version of Dask changes them, `startup_checks` reports it when a scheduler or worker starts, and only
this folder has to be adapted.
"""
