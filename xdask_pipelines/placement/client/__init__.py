"""The client side of placement: connecting to a scheduler, and computing results with their evidence."""
