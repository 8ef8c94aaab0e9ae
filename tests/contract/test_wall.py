"""Nothing but the wall uses what Dask does not document, and each of its functions has a contract test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import xdask_pipelines

PACKAGE = Path(xdask_pipelines.__file__).parent
WALL = PACKAGE / "placement" / "dask_internals"
#: What Dask documents, by module; None for all of it.
DOCUMENTED: dict[str, set[str] | None] = {
    "dask": None,
    "dask.array": None,
    "dask.base": {"is_dask_collection", "tokenize"},
    "dask.delayed": None,
    "dask.typing": {"Key"},
    "dask.utils": {"parse_bytes"},
    "distributed": {
        *("Client", "Future", "Nanny", "NannyPlugin", "Scheduler", "Security", "Worker", "WorkerPlugin"),
        *("futures_of", "get_worker", "wait"),
    },
    "distributed.active_memory_manager": None,
    "distributed.diagnostics.plugin": None,
}
#: Attributes of Dask's tasks, layers and servers that only the wall may set, or put something into.
NOT_SET = {"annotations", "host_restrictions", "loose_restrictions", "priority", "resource_restrictions", "run_spec"}
NOT_SET |= {"worker_restrictions", "worker_ttl", "handlers", "stream_handlers", "startup_information", "state"}


def outside() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*.py")) if WALL not in path.parents)


@pytest.mark.parametrize("path", outside(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_other_files_use_what_dask_documents(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("dask", "distributed"):
            names = {alias.name for alias in node.names}
            assert str(node.module) in DOCUMENTED, f"line {node.lineno}: import {node.module} behind the wall"
            allowed = DOCUMENTED[str(node.module)]
            assert allowed is None or names <= allowed, f"line {node.lineno}: {names - (allowed or set())}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in ("dask", "distributed"):
                    assert alias.name in DOCUMENTED, f"line {node.lineno}: import {alias.name} behind the wall"
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                inner = target.value if isinstance(target, ast.Subscript) else target
                if isinstance(inner, ast.Attribute) and not _is_self(inner):
                    assert inner.attr not in NOT_SET, f"line {node.lineno}: {ast.unparse(target)} is set"


def _is_self(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.value, ast.Name) and attribute.value.id == "self"


def test_each_function_of_the_wall_has_a_contract_test() -> None:
    tests = "\n".join(
        path.read_text() for path in sorted(Path(__file__).parent.glob("test_*.py")) if path.name != "test_wall.py"
    )
    titles = [
        f"{node.name} {ast.get_docstring(node) or ''}"
        for node in ast.walk(ast.parse(tests))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    for path in sorted(WALL.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert any(node.name in title for title in titles), f"{path.name}: {node.name} has no contract test"
