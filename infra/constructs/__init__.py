"""Constructs, each next to its typed config. Most are of CloudFormation's own types: what is written is what is deployed."""
