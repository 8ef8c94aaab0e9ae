"""Analysis and optimisation of a graph before it runs: homes, sizes, assignment of blocks to Regions, and graph fusion."""
