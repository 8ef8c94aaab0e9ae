"""The OpenSearch domain of a rehearsal: an endpoint that asks for signatures and rights as AWS does, before a real node.

Belongs here: who may ask what. Does not belong here: the node (servers), other APIs (account).
"""
