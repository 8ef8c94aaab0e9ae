"""What each IAM role may do, as data: every statement has a reason, and resources are named."""
