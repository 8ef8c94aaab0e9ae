"""Admitting roles of AWS to the indices of a catalog, on a domain with fine-grained access control.

Belongs here: one role of the domain, and who may have it. Does not belong here: policies of AWS, which admit requests to the
domain at all (infra.policies).
"""

from __future__ import annotations

from collections.abc import Sequence

from xdask_pipelines.catalog.opensearch.opensearch_address import Address
from xdask_pipelines.catalog.opensearch.opensearch_node import Node

_SECURITY = "/_plugins/_security/api"


def admit(url: str, roles: Sequence[str]) -> None:
    """Let roles of AWS use all indices of a catalog; a second call does nothing.

    Parameters
    ----------
    url
        Address of the catalog. The requests are signed with the role that administers the domain.
    roles
        ARNs.

    Raises
    ------
    CatalogError
        The domain does not answer or refuses, as one without fine-grained access control does.
    """
    address = Address.parse(url)
    node, name = Node(address), address.name
    role = {
        "cluster_permissions": ["cluster_composite_ops", "cluster_monitor"],
        "index_permissions": [{"index_patterns": [name, f"{name}-*"], "allowed_actions": ["indices_all"]}],
    }
    node.ask(lambda client: client.transport.perform_request("PUT", f"{_SECURITY}/roles/{name}", body=role))
    holders = {"backend_roles": list(roles)}
    node.ask(lambda client: client.transport.perform_request("PUT", f"{_SECURITY}/rolesmapping/{name}", body=holders))
