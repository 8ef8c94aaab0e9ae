"""Deployment and removal of all stacks, and the few steps that CloudFormation cannot do."""
