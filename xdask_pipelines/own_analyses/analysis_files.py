"""The user's own analyses: every file in the folder ``analyses`` next to ``regions.yaml``.

Belongs here: finding and importing the files, and setting aside those that cannot be used. Does not belong here: what
an analysis is (assets), how it is sent to workers (placement), definitions (build).
"""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import dagster as dg

from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.errors import XdaskError

FOLDER = "analyses"
#: Functions at the start of a line, which may be assets. They are found even in files that cannot be imported.
_FUNCTION = re.compile(r"^(?:async +)?def +(\w+)", re.M)


@dataclass(frozen=True)
class Broken:
    """A file of ``analyses``, or some of its assets, that cannot be used.

    Attributes
    ----------
    file
        The file, relative to the folder of ``regions.yaml``.
    reason
        The problem, as a sentence without full stop.
    names
        Assets that cannot be used for this reason; for a file that cannot be imported, its functions.
    """

    file: Path
    reason: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


@dataclass
class OwnAssets:
    """Assets of the folder ``analyses``: the usable ones, and the broken ones."""

    assets: list[dg.AssetsDefinition] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    files: dict[dg.AssetKey, Path] = field(default_factory=dict)

    def set_aside(self, asset: dg.AssetsDefinition, reason: str) -> None:
        """Move an asset from the usable ones to the broken ones."""
        self.assets = [other for other in self.assets if other is not asset]
        self.broken.append(Broken(self.files[_key(asset)], reason, _names(asset)))

    def names(self) -> set[str]:
        """Return the names of the usable assets."""
        return {name for asset in self.assets for name in _names(asset)}

    def reason_of(self, name: str) -> Broken | None:
        """Return why an asset is broken; None if it is not."""
        return next((broken for broken in self.broken if name in broken.names), None)


def own_assets(root: Path, taken: Collection[dg.AssetKey] = ()) -> OwnAssets:
    """Import the assets of all files in ``root/analyses``, in the order of the files' names.

    A file that cannot be used does not affect the others.

    Parameters
    ----------
    root
        Folder of ``regions.yaml``.
    taken
        Keys of the project's built-in assets, which no file may define again.
    """
    own = OwnAssets()
    found: dict[dg.AssetKey, list[tuple[dg.AssetsDefinition, Path]]] = {}
    for path in sorted((root / FOLDER).glob("*.py")):
        if path.name.startswith("test_") or path.name == "conftest.py":  # files of pytest
            continue
        file = path.relative_to(root)
        try:
            module = _imported(path)
        except XdaskError as error:
            own.broken.append(Broken(file, str(error), _functions(path)))
            continue
        for asset in {id(v): v for v in vars(module).values() if isinstance(v, dg.AssetsDefinition)}.values():
            if not list(asset.keys):  # asset checks, which `dg.Definitions` takes separately
                continue
            for key in asset.keys:
                others = found.setdefault(key, [])
                if all(asset is not other for other, _ in others):
                    others.append((asset, file))
    for places in found.values():
        asset, file = places[0]
        if _key(asset) not in own.files:
            own.assets.append(asset)
            own.files[_key(asset)] = file
    _refuse_doubles(own, found, taken)
    refuse_unknown_inputs(own, {key.to_user_string() for key in taken})
    return own


def _refuse_doubles(
    own: OwnAssets, found: dict[dg.AssetKey, list[tuple[dg.AssetsDefinition, Path]]], taken: Collection[dg.AssetKey]
) -> None:
    for key, places in found.items():
        name, files = key.to_user_string(), [file for _, file in places]
        if key in taken:
            reason = f"the project itself has an asset {name}; rename this one"
        elif len(places) > 1:
            reason = f"{' and '.join(dict.fromkeys(map(str, files)))} both define the asset {name}; rename one of them"
        else:
            continue
        own.assets = [asset for asset in own.assets if key not in asset.keys]
        own.broken += [Broken(file, reason, (name,) if key not in taken else ()) for file in dict.fromkeys(files)]


def refuse_unknown_inputs(own: OwnAssets, taken: set[str]) -> None:
    """Set aside assets that depend on missing or broken assets, including indirectly."""
    known = taken | own.names()  # taken before any asset is set aside, so that suggestions do not depend on the order
    while True:
        usable = taken | own.names()
        for asset in own.assets:
            made = analysis_of(asset)
            missing = [name for name in made.upstream if name not in usable] if made else []
            if made and missing:
                own.set_aside(asset, "; ".join(_why_missing(made, name, own, known) for name in missing))
                break
        else:
            break
    _refuse_circles(own, taken)


def _why_missing(made: Analysis, name: str, own: OwnAssets, known: set[str]) -> str:
    if broken := own.reason_of(name):
        return f"{made.name} is computed from {name}, which is broken ({broken})"
    return f"{made.name}: no asset or source is named {name}{meant(name, known) or _kinds(name, known)}"


def _kinds(name: str, known: set[str]) -> str:
    plain = ", ".join(sorted(asset for asset in known if "/" not in asset))
    return f". Annotate {name} with a subclass of dagster.Config if it holds settings, or use one of {plain}"


def meant(name: str, known: Iterable[str]) -> str:
    """Return ``: did you mean …?`` with the names most similar to a misspelt one; empty if none is similar."""
    close = get_close_matches(name, sorted(known), n=3, cutoff=0.7)
    return f": did you mean {' or '.join(close)}?" if close else ""


def _refuse_circles(own: OwnAssets, taken: set[str]) -> None:
    """Set aside analyses that depend on themselves."""
    ready, waiting = set(taken), list(own.assets)
    while True:
        now = [a for a in waiting if (made := analysis_of(a)) is None or ready.issuperset(made.upstream)]
        if not now:
            break
        ready |= {name for asset in now for name in _names(asset)}
        waiting = [asset for asset in waiting if all(asset is not other for other in now)]
    upstream = {made.name: set(made.upstream) - ready for a in waiting if (made := analysis_of(a))}
    for asset in waiting:
        (name,), seen = _names(asset), set[str]()
        following = list(upstream[name])
        while following:
            if (next_name := following.pop()) not in seen:
                seen.add(next_name)
                following += upstream[next_name]
        others = ", ".join(sorted(seen - {name}))
        circle = f"{name} depends on itself" + (f", through {others}" if others else "")
        own.set_aside(
            asset,
            circle if name in seen else f"{name} is computed from {others}, which depend on each other in a circle",
        )


def _imported(path: Path) -> ModuleType:
    name = f"{FOLDER}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise XdaskError("it is not a Python file; rename it, or move it out of the folder")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file may do anything when it is imported, including `exit()`
        sys.modules.pop(name, None)
        text = " ".join(str(error).split())
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f" (line {lines[-1]})" if lines else ""
        raise XdaskError(f"it cannot be loaded: {type(error).__name__}: {text}{where}") from error
    return module


def _functions(path: Path) -> tuple[str, ...]:
    try:
        return tuple(_FUNCTION.findall(path.read_text(errors="replace")))
    except OSError:  # a folder, or a file without read permission: its functions are unknown
        return (path.stem,)


def _key(asset: dg.AssetsDefinition) -> dg.AssetKey:
    return min(asset.keys)


def _names(asset: dg.AssetsDefinition) -> tuple[str, ...]:
    return tuple(sorted(key.to_user_string() for key in asset.keys))
