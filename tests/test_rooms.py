"""The house: floors import downwards only, and a name says one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import xdask_pipelines

PACKAGE = Path(xdask_pipelines.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def test_floors_import_downwards_only() -> None:
    floors = [
        {"system"},
        {"errors"},
        {"topology"},
        {"placement", "catalog", "lustre", "climate"},
        {"access"},
        {"resources"},
        {"assets", "checks", "verdicts", "partitions", "schedules", "sensors", "own_analyses"},
        {"build"},
        {"operations", "notebook"},
        {"cli", "definitions"},
    ]
    below: set[str] = set()
    for level, floor in enumerate(floors):
        for name in sorted(floor):
            allowed = below | {name} | (floor if "checks" in floor else set())
            one = PACKAGE / f"{name}.py"
            for path in [one] if one.exists() else sorted((PACKAGE / name).rglob("*.py")):
                imported = set(_imports(path))
                ours = {module.split(".")[1] for module in imported if module.startswith("xdask_pipelines.")}
                assert ours <= allowed, f"{path.relative_to(PACKAGE)} imports {ours - allowed}"
                assert level >= 5 or not any(m.split(".")[0].startswith("dagster") for m in imported), path
        below |= floor


def _imports(path: Path, whole: bool = False) -> Iterator[str]:
    """Modules that a file imports, inside functions too; with ``whole`` also those that it imports out of a package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports of a package from itself are written out"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names if whole)


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = {_module(path): path for path in FILES if path.name != "__init__.py"}
    needs = {
        module: {named for named in _imports(path, whole=True) if named in modules} for module, path in modules.items()
    }
    TopologicalSorter(needs).prepare()  # raises CycleError, with the circle


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def test_no_file_name_and_no_public_class_name_is_there_twice() -> None:
    names: defaultdict[str, list[Path]] = defaultdict(list)
    for path in FILES:
        if path.name != "__init__.py":
            names[path.name].append(path)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names[node.name].append(path)
    assert {name: paths for name, paths in names.items() if len(paths) > 1} == {}
