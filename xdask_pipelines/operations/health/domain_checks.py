"""Checks of the OpenSearch domain: what is signed is answered, what is not is refused.

Belongs here: two requests, and what their answers mean. Does not belong here: what the catalog holds (doctor).
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing

from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.catalog.opensearch.opensearch_address import Address
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.operations.health.finding import Finding
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import role_name

_ABOUT = "catalog"
_ANSWER_SECONDS = 20.0
#: Statuses by which the service refuses.
_REFUSED = (401, 403)


def check_signatures(topology: Topology) -> Iterator[Finding]:
    """Check that the domain answers a request that is signed with the role of this task, and refuses one that is not."""
    url = topology.catalog_url
    address = Address.parse(url) if url.startswith("opensearch+") else None
    if address is None or address.aws_region is None:
        yield Finding(
            _ABOUT,
            "note",
            f"requests to {url} are not signed",
            "Remove `catalog:` from regions.yaml to use the domain.",
        )
        return
    place = next(iter(topology.places), None)
    try:
        open_catalog(url).manifest(*place) if place else None
    except CatalogError as error:
        role = role_name("dagster", topology.client.region)
        remedy = (
            f"The access policy of the domain has to name the role {role}, and the role has to allow es:ESHttp… on the "
            "domain: `make infra-deploy` restores both. With fine-grained access control, that role has to administer "
            "the domain."
        )
        yield Finding(_ABOUT, "problem", f"a signed request was not answered: {error}", remedy)
    else:
        yield Finding(_ABOUT, "ok", f"{address.host} answered a request that was signed with the role of this task")
    status = _status_without_signature(address)
    if status in _REFUSED:
        yield Finding(_ABOUT, "ok", f"{address.host} refused a request without signature (status {status})")
    else:
        said = f"{address.host} answered a request without signature with status {status}"
        remedy = (
            "Everyone in the VPCs can change the catalog: correct the access policy of the domain, `make infra-deploy`."
        )
        yield Finding(_ABOUT, "problem", said, remedy)


def _status_without_signature(address: Address) -> int:
    connection = http.client.HTTPSConnection(
        address.host, address.port, timeout=_ANSWER_SECONDS, context=address.context()
    )
    with closing(connection):
        connection.request("GET", f"/{address.name}-none/_count")
        return connection.getresponse().status
