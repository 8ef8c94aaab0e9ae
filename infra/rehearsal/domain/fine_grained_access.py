"""Fine-grained access control of the OpenSearch domain: roles of the domain, and which roles of AWS have them.

Belongs here: the part of the security plugin's API that the program uses, and what it refuses. Does not belong here:
signatures and policies of AWS (search_domain). The real node has the plugin for TLS alone: a node with users takes no
signatures either, so that the domain's own front has to know the callers in any case.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

_API = "/_plugins/_security/api/"
Document = dict[str, Any]


@dataclass
class FineGrainedAccess:
    """Roles of a domain.

    Attributes
    ----------
    master
        ARN of the role of AWS that administers the domain.
    roles, mappings
        Documents of the API by name of the domain's role.
    """

    master: str
    roles: dict[str, Document] = field(default_factory=dict)
    mappings: dict[str, Document] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Document] | None:
        """Answer a request of the master to the security plugin; None if the request is not to the plugin."""
        if not path.startswith(_API):
            return None
        kind, _, name = path.removeprefix(_API).partition("/")
        documents = {"roles": self.roles, "rolesmapping": self.mappings}.get(kind)
        if documents is None or not name:
            return 404, {"status": "NOT_FOUND", "message": f"no handler found for uri [{path}]"}
        if method == "PUT":
            created = name not in documents
            documents[name] = json.loads(body)
            return (201 if created else 200), {"status": "CREATED" if created else "OK"}
        if method == "GET" and name in documents:
            return 200, {name: documents[name]}
        return 404, {"status": "NOT_FOUND", "message": f"Resource '{name}' not found."}

    def refusal(self, role: str, path: str) -> str:
        """Return why a role of AWS may not use a path, in the words of the plugin; empty if it may."""
        if role == self.master:
            return ""
        mine = [self.roles.get(name, {}) for name, each in self.mappings.items() if role in each["backend_roles"]]
        first = path.strip("/").partition("/")[0]
        if first.startswith("_"):
            allowed = any(each.get("cluster_permissions") for each in mine) and not path.startswith("/_plugins")
        else:
            patterns = [p for each in mine for one in each.get("index_permissions", ()) for p in one["index_patterns"]]
            allowed = all(any(fnmatchcase(index, p) for p in patterns) for index in first.split(","))
        who = f"User [name={role}, backend_roles=[{role}], requestedTenant=null]"
        return "" if allowed else f"no permissions for [{path}] and {who}"
