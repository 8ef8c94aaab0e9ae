"""Strict reading of a YAML file as a pydantic model; every error has a line, a key and a fix.

Belongs here: reading, duplicate keys, and converting validation errors to messages with line numbers. Does not belong
here: the meaning of keys (stanzas, model).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from xdask_pipelines.errors import TopologyError

Location = tuple[int | str, ...]
Model = TypeVar("Model", bound=BaseModel)


class Stanza(BaseModel):
    """Part of the file: unknown keys are refused, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ProblemsError(ValueError):
    """Violations of rules across several keys, each with its location in the file."""

    def __init__(self, problems: list[tuple[Location, str]]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


def close_names(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for a message: the known names that are similar to a misspelt one."""
    close = get_close_matches(name, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def load_model(path: str | Path, model: type[Model]) -> Model:
    """Read a YAML file as a model.

    Raises
    ------
    TopologyError
        If the file is not valid. The message has one line ``file:line: key: problem; fix`` for every error.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        problems = list(_duplicate_keys(node)) if node else [((), "is empty; write its keys")]
        if node and not problems:
            return model.model_validate(loader.construct_document(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise TopologyError(f"{path}:{line}: is not YAML: {error.problem}; fix the text there") from error
    except ValidationError as error:
        problems = list(_problems(error, model))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TopologyError(f"{path}: is not YAML: {error}; fix the text") from error
    lines = sorted((_line(node, location), _dotted(location), message) for location, message in problems)
    raise TopologyError("\n".join(f"{path}:{line}: {key}: {message}" for line, key, message in lines))


def _problems(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Location, str]]:
    for item in error.errors():
        location = item["loc"]
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, ProblemsError):
            yield from cause.problems
            continue
        keys = _keys_at(model, location if item["type"] == "model_type" else location[:-1])
        match item["type"]:
            case "extra_forbidden":
                message = f"unknown key{close_names(str(location[-1]), keys)}; known here: {', '.join(keys)}"
            case "missing":
                message = "is missing; add it"
            case "model_type":
                message = f"must be a mapping with some of the keys {', '.join(keys)}"
            case "tuple_type":
                message = "must be a list"
            case "string_type":
                message = f"must be text, not {item['input']!r}; put it in quotes"
            case "int_type":
                message = f"must be a whole number without quotes, not {item['input']!r}"
            case "bool_type":
                message = f"must be true or false, not {item['input']!r}"
            case _:
                message = str(cause) if cause else f"{item['msg']}, not {item['input']!r}"
        yield location, message


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    """Return the valid keys at a location in the file, from the model's annotations."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            inner = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
            model = next((kind for kind in inner if issubclass(kind, BaseModel)), model)
    return list(model.model_fields)


def _line(node: yaml.Node | None, location: Location) -> int:
    """Return the line, from 1, of a location in the file; for a missing key, that of the enclosing mapping."""
    line = node.start_mark.line if node else 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _duplicate_keys(node: yaml.Node, at: Location = ()) -> Iterator[tuple[Location, str]]:
    """Iterate over keys that occur twice in one mapping: YAML would silently keep the last one."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield at, f"line {line} has a key that is not text; use plain keys"
                continue
            if key.value in lines:
                where = (*at, key.value)
                yield where, f"occurs twice, in lines {lines[key.value]} and {line}; keep one"
            lines.setdefault(key.value, line)
            yield from _duplicate_keys(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _duplicate_keys(item, (*at, i))


def _dotted(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "the file"
