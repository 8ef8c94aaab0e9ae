"""A month of hourly data through a real pool: CPU and memory of the workers beside netCDF4 and beside inflating alone."""
