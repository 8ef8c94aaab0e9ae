"""What operators do with a deployment on AWS: its cost, sleep, certificates, notebooks, file systems."""
