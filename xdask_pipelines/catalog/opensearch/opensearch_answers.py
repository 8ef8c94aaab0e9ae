"""What a node may answer: a JSON object, of all shards. Anything else is no answer of OpenSearch.

Belongs here: checking answers before anybody reads them. Does not belong here: retries and words for users
(opensearch_node), what an answer means.

A proxy that answers in the node's place, or cuts an answer short, must not look like an empty catalog: its page "404 Not
Found" is not the node's "no such document", and an empty body is no head without commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from opensearchpy import JSONSerializer, Urllib3HttpConnection
from opensearchpy.exceptions import OpenSearchException, TransportError

#: Statuses that mean something to the catalog, which a node explains in one of these fields.
_MEANT = frozenset({404, 409})
_EXPLAINED = frozenset({"error", "found", "pits"})
_SHOWN = 120
#: How long a connection and an answer are waited for: a machine that is not there refuses nothing, and a process that hangs
#: answers nothing. The first request of a process reads one small document; later ones may read much, from a busy domain.
FIRST_ANSWER_SECONDS, ANSWER_SECONDS = 2.5, 60.0


class GarbledAnswer(OpenSearchException):
    """An answer that no node of OpenSearch gives."""


class PartialAnswer(OpenSearchException):
    """An answer without some shards, as of a node that restarts."""


class JsonObjects(JSONSerializer):
    """JSON of requests and answers: orjson reads a page of 10,000 entries in a fifth of the time."""

    def loads(self, s: str) -> Any:
        """Read an answer.

        Raises
        ------
        GarbledAnswer
            It is no JSON object.
        """
        try:
            answer = orjson.loads(s)
        except ValueError as error:
            raise GarbledAnswer(f"JSON that breaks off or is damaged ({error}): {shown(s)}") from error
        if not isinstance(answer, dict):
            raise GarbledAnswer(f"JSON that is no object: {shown(s)}")
        return answer

    def dumps(self, data: Any) -> Any:
        """Write a request."""
        return data if isinstance(data, (str, bytes)) else orjson.dumps(data)


class CheckedConnection(Urllib3HttpConnection):
    """A connection that passes on what a node of OpenSearch may have said, and nothing else."""

    _has_answered = False

    def perform_request(self, method: str, *args: Any, **options: Any) -> Any:
        """Send a request.

        Raises
        ------
        GarbledAnswer
            Something else than a node answered, or nothing came.
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
    """The same answer, if all shards took part in it.

    Raises
    ------
    PartialAnswer
        Some did not, or not in time.
    """
    shards = answer["_shards"]
    if shards["failed"] or answer.get("timed_out"):
        raise PartialAnswer(f"{shards['failed']} of {shards['total']} shards did not answer")
    return dict(answer)


def shown(data: str) -> str:
    """The beginning of an answer, on one line."""
    return repr(" ".join(data[: 2 * _SHOWN].split())[:_SHOWN]) if data.strip() else "nothing"
