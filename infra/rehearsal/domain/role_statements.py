"""Statements of roles as the emulator has them: the policies of the templates, resolved.

Belongs here: reading them, and what they say of one action. Does not belong here: all actions with conditions, which the
emulator's own evaluator decides (iam_contract).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Statement = Mapping[str, Any]


def statements_of(iam: Any, role: str) -> list[Statement]:
    """Return the statements of a role's inline policies, in order."""
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    return [each for document in documents for each in statements_in(document)]


def statements_in(document: Mapping[str, Any]) -> list[Statement]:
    """Return the statements of a policy."""
    found = document["Statement"]
    return [found] if isinstance(found, Mapping) else list(found)


def allows(statements: Iterable[Statement], action: str, resource: str) -> bool:
    """Return whether statements allow an action on a resource; those with conditions allow nothing here."""
    effects = {
        each["Effect"]
        for each in statements
        if _fits(each.get("Action", ()), action) and _fits(each.get("Resource", ()), resource)
        if not each.get("Condition") or each["Effect"] == "Deny"
    }
    return effects == {"Allow"}


def principals(statement: Statement) -> Iterator[str]:
    """Yield the principals of AWS that a statement of a resource policy names."""
    found = statement.get("Principal", {})
    named = found if isinstance(found, str) else found.get("AWS", ())
    yield from [named] if isinstance(named, str) else named


def _fits(patterns: str | list[str], name: str) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(_pattern(each).fullmatch(name) for each in listed)


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"([*?])", text)
    return re.compile("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts), re.IGNORECASE)
