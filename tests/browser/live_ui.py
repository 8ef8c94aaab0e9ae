"""A running `xdask ui` as tests see it: its command line, its API, its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

XDASK = str(Path(sys.executable).with_name("xdask"))


def until(condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """The first true answer of a condition."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        if found := condition():
            return found
        sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass(frozen=True)
class Ui:
    """A running `xdask ui`."""

    root: Path
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def xdask(self, *words: str) -> str:
        done = subprocess.run([XDASK, *words], env=environment(self.root), check=True, capture_output=True, text=True)
        return done.stdout

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return said["data"]

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the newest first."""
        return self.ask("{runsOrError {... on Runs {results {runId status creationTime startTime endTime}}}}")[
            "runsOrError"
        ]["results"]

    def new_runs(self, known: list[dict[str, Any]], number: int = 1) -> list[str]:
        """Ids of runs launched since, once there are so many, the oldest first."""
        before = {run["runId"] for run in known}

        def launched() -> list[str]:
            ids = [run["runId"] for run in reversed(self.runs()) if run["runId"] not in before]
            return ids if len(ids) >= number else []

        return until(launched, f"{number} runs launched")

    def ended(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended."""
        over = {"SUCCESS", "FAILURE", "CANCELED"}
        return until(
            lambda: next((r for r in self.runs() if r["runId"] == run_id and r["status"] in over), None),
            f"run {run_id} over",
            120,
        )

    def metadata(self, run_id: str, asset: str) -> dict[str, Any]:
        """What a run's materialization of an asset says."""
        run = self.ask(_METADATA, run=run_id)["runOrError"]
        (made,) = [m for m in run["assetMaterializations"] if m["assetKey"]["path"] == [asset]]
        values = {}
        for entry in made["metadataEntries"]:
            given = [entry[k] for k in ("floatValue", "intValue", "text", "mdStr", "url") if entry.get(k) is not None]
            values[entry["label"]] = json.loads(entry["jsonString"]) if "jsonString" in entry else (given or [None])[0]
        return values


_METADATA = """query($run: ID!) {runOrError(runId: $run) {... on Run {assetMaterializations {assetKey {path}
metadataEntries {label ... on FloatMetadataEntry {floatValue} ... on IntMetadataEntry {intValue}
... on TextMetadataEntry {text} ... on MarkdownMetadataEntry {mdStr} ... on UrlMetadataEntry {url}
... on JsonMetadataEntry {jsonString}}}}}}"""


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "XDASK_TOPOLOGY": str(root / "regions.yaml")}


def processes_of(root: Path) -> dict[int, str]:
    """Processes started for a project: all that were told its topology file."""
    wanted, found = str(root / "regions.yaml"), {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDASK_TOPOLOGY") == wanted and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())[:120]
        except psutil.Error:
            continue
    return found
