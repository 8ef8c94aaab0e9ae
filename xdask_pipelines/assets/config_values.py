"""Config values of a run: from what a person wrote to the typed config of an analysis, or one clear error.

Belongs here: reading and checking values by the fields' types. Does not belong here: where they come from (cli, launchpad).
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import dagster as dg
import pydantic

from xdask_pipelines.errors import XdaskError


def typed_config(asset: str, config_type: type[dg.Config] | None, values: Mapping[str, Any]) -> dg.Config | None:
    """Typed config from values, which may be text as on the command line.

    Text for a field that is no text is read as JSON: ``"5"``, ``"true"``, ``"[1, 2]"``. ``true`` is no number.

    Parameters
    ----------
    asset
        Its name, for messages.
    config_type
        Class of the config; None if the asset takes none.
    values
        Values by key.

    Raises
    ------
    XdaskError
        A key is unknown or missing, or a value does not fit the type of its key. The message names the key, its type, the
        value and all keys.
    """
    fields = {} if config_type is None else {f.alias or name: f for name, f in config_type.model_fields.items()}
    extra = config_type is not None and config_type.model_config.get("extra") == "allow"
    if unknown := [] if extra else sorted(set(values) - set(fields)):
        raise XdaskError(f"{asset} has no config value {', '.join(unknown)}. {_known(fields)}")
    if missing := [key for key, field in fields.items() if field.is_required() and key not in values]:
        remedy = " ".join(f"-c {key}=…" for key in missing)
        raise XdaskError(
            f"{asset} needs the config value {', '.join(missing)}: give it with `{remedy}`. {_known(fields)}"
        )
    if config_type is None:
        return None
    read = {key: _read(value, fields[key].annotation) if key in fields else value for key, value in values.items()}
    for key, value in read.items():
        if key in fields and bool not in _leaves(fields[key].annotation) and _holds_bool(value):
            raise XdaskError(_refusal(asset, key, fields, values[key], "true and false are no numbers or text"))
    try:
        return config_type(**read)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = next((str(part) for part in first["loc"] if str(part) in fields), "")
        inside = ".".join(map(str, first["loc"][1:]))
        why = f"{inside}: {first['msg']}" if inside else str(first["msg"])
        if not key:  # a check of the whole config, written by its author
            raise XdaskError(f"The config of {asset} is refused: {first['msg']}. {_known(fields)}") from None
        raise XdaskError(_refusal(asset, key, fields, values.get(key), why)) from None
    except Exception as error:  # Dagster's own checks of unions, and checks that a config's author wrote
        raise XdaskError(f"The config of {asset} is refused: {error}. {_known(fields)}") from error


def _refusal(asset: str, key: str, fields: Mapping[str, Any], value: Any, why: str) -> str:
    kind = type_name(fields[key].annotation)
    return f"{asset}: {key} = {value!r} does not fit the type {kind}: {why}. {_known(fields)}"


def _known(fields: Mapping[str, Any]) -> str:
    if not fields:
        return "It takes none."
    described = []
    for key, field in sorted(fields.items()):
        need = "required" if field.is_required() else f"{_default(field)!r} if not given"
        described.append(f"{key} ({type_name(field.annotation)}, {need})")
    return f"There is {', '.join(described)}."


def _default(field: Any) -> Any:
    default = field.get_default(call_default_factory=True)
    return default.name if isinstance(default, Enum) else default


def type_name(annotation: Any) -> str:
    """A type as its author writes it: ``int``, ``list[float]``, ``'a' | 'b'``."""
    if get_origin(annotation) is Literal:
        return " | ".join(map(repr, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(annotation.__members__)
    if arguments := get_args(annotation):
        names = [type_name(a) for a in arguments]
        if isinstance(annotation, types.UnionType) or not isinstance(get_origin(annotation), type):
            return " | ".join(names)
        return f"{get_origin(annotation).__name__}[{', '.join(names)}]"
    if annotation is type(None):
        return "null"
    return getattr(annotation, "__name__", str(annotation))


def _read(value: Any, annotation: Any) -> Any:
    if not isinstance(value, str):
        return value
    leaves = set(_leaves(annotation))
    of_text = leaves <= {str, type(None)} and not any(map(_has_parts, _alternatives(annotation)))
    if of_text and not (value == "null" and type(None) in leaves):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return value if str in leaves and isinstance(found, int | float) and not isinstance(found, bool) else found


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union; any other type by itself."""
    is_union = isinstance(annotation, types.UnionType) or get_origin(annotation) is Union
    return get_args(annotation) if is_union else (annotation,)


def _has_parts(annotation: Any) -> bool:
    """Whether values of a type are lists, mappings or configs, which are written as JSON."""
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, list | tuple | set | dict | Mapping | dg.Config)


def _leaves(annotation: Any) -> Iterator[Any]:
    """The plain types that a type is made of; texts to choose from count as text."""
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield str
    elif isinstance(annotation, type) and issubclass(annotation, dg.Config):
        for field in annotation.model_fields.values():
            yield from _leaves(field.annotation)
    elif arguments := get_args(annotation):
        for argument in arguments:
            yield from _leaves(argument)
    elif annotation is Any or annotation in (dict, list):
        yield bool  # of any content
    else:
        yield annotation


def _holds_bool(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_bool(v) for v in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_bool(v) for v in value)
    return isinstance(value, bool)
