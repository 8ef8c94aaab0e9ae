"""Validation of answers: a node answers with a JSON object from all shards. Anything else is not from OpenSearch.

Belongs here: validating answers before they are used. Does not belong here: retries and error messages
(opensearch_node), the meaning of answers (opensearch_backend).

A proxy that answers instead of the node, or truncates an answer, must not look like an empty catalog: its page "404 Not
Found" is not the node's "no such document", and an empty body is not a head without commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from opensearchpy import JSONSerializer, Urllib3HttpConnection
from opensearchpy.exceptions import OpenSearchException, TransportError

#: Statuses with a meaning for the catalog, which a node explains in one of these fields.
_MEANT = frozenset({404, 409})
_EXPLAINED = frozenset({"error", "found", "pits"})
_SHOWN = 120
#: Timeouts for connections and answers, for machines that do not exist and processes that hang. The first request of a
#: process reads one small document; later ones may read much data from a busy domain.
FIRST_ANSWER_SECONDS, ANSWER_SECONDS = 2.5, 60.0


class GarbledAnswer(OpenSearchException):
    """An answer that cannot come from an OpenSearch node."""


class PartialAnswer(OpenSearchException):
    """An answer in which some shards are missing, for example from a node that restarts."""


class JsonObjects(JSONSerializer):
    """JSON of requests and answers with orjson, which reads a page of 10,000 entries in a fifth of the time."""

    def loads(self, s: str) -> Any:
        """Parse an answer.

        Raises
        ------
        GarbledAnswer
            If the answer is not a JSON object.
        """
        try:
            answer = orjson.loads(s)
        except ValueError as error:
            raise GarbledAnswer(f"truncated or corrupt JSON ({error}): {shown(s)}") from error
        if not isinstance(answer, dict):
            raise GarbledAnswer(f"JSON that is not an object: {shown(s)}")
        return answer

    def dumps(self, data: Any) -> Any:
        """Write a request."""
        return data if isinstance(data, (str, bytes)) else orjson.dumps(data)


class CheckedConnection(Urllib3HttpConnection):
    """A connection that accepts only answers of an OpenSearch node."""

    _has_answered = False

    def perform_request(self, method: str, *args: Any, **options: Any) -> Any:
        """Send a request.

        Raises
        ------
        GarbledAnswer
            If the answer is empty or not from a node.
        """
        seconds = ANSWER_SECONDS if self._has_answered else FIRST_ANSWER_SECONDS
        options["timeout"] = options.get("timeout") or seconds
        try:
            status, headers, data = super().perform_request(method, *args, **options)
            self._has_answered = True
        except TransportError as error:
            self._has_answered |= isinstance(error.status_code, int)
            explained = isinstance(error.info, Mapping) and not _EXPLAINED.isdisjoint(error.info)
            if error.status_code in _MEANT and method != "HEAD" and not explained:
                raise GarbledAnswer(
                    f"status {error.status_code} with {shown(str(error.info or error.error))}"
                ) from error
            raise
        kind = str(headers.get("content-type", "")).partition(";")[0]
        if method != "HEAD" and (kind != "application/json" or not data.strip()):
            raise GarbledAnswer(f"{kind or 'content of no type'} instead of JSON: {shown(data)}")
        return status, headers, data


def whole(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer if it is from all shards.

    Raises
    ------
    PartialAnswer
        If some shards did not answer, or not in time.
    """
    shards = answer["_shards"]
    if shards["failed"] or answer.get("timed_out"):
        raise PartialAnswer(f"{shards['failed']} of {shards['total']} shards did not answer")
    return dict(answer)


def shown(data: str) -> str:
    """Return the start of an answer, on one line."""
    return repr(" ".join(data[: 2 * _SHOWN].split())[:_SHOWN]) if data.strip() else "nothing"
