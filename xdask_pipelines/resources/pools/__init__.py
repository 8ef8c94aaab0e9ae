"""Worker pools: what each kind can do, starting and finding them, and how many instances they have."""
