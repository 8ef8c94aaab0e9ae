"""Synthetic data at any size, with or without a fault: ERA5-like months and CMIP6-like members.

Belongs here: files in the exact layouts of the public archives. Not here: reading or checking them.
"""

from xdask_pipelines.synthetic.cmip6 import write_cmip6_member
from xdask_pipelines.synthetic.era5 import write_era5_month
from xdask_pipelines.synthetic.faults import Fault

__all__ = ["Fault", "write_cmip6_member", "write_era5_month"]
