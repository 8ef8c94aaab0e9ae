"""What a computation will do, told before it runs."""
