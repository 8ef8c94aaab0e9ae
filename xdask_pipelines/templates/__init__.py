"""Files that `xdask init` writes into a new project."""
