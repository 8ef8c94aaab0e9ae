"""Real servers in place of those that AWS runs: S3, Postgres, OpenSearch; and sockets by which tasks reach them.

Belongs here: servers that know nothing of AWS. Does not belong here: APIs of AWS (account).
"""
