"""Where listings and entries come from: buckets, inventories, catalogs of others."""
