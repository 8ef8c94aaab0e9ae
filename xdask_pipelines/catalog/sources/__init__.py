"""Sources of listings and entries: buckets, inventories, external catalogs."""
