"""Tasks of ECS as real processes: containers, hosts, networks, and the agent that starts and ends them.

Belongs here: what runs, and where. Does not belong here: what ECS answers about it (account).
"""
