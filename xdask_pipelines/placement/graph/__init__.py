"""What a graph becomes before it runs: homes, sizes, the assignment of blocks to Regions, fusion that mixes no homes."""
