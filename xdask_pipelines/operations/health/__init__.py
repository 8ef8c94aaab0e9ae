"""The doctor: checks of files, code and processes."""
