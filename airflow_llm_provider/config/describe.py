"""What each key of ``orchestrator.yaml`` means, may be, and does: for ``config explain`` and the table in the docs.

All of it is read off the JSON Schema of the model, whose descriptions are the docstrings of the sections, and off the settings that
:mod:`airflow_llm_provider.config.airflow_settings` makes; only who reads the other keys is said here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.readers import reader_of
from airflow_llm_provider.config.reading import VARIABLES
from airflow_llm_provider.spelling import nothing_called

__all__ = ["Key", "describe", "find_keys", "key_table", "sections"]


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        name: Dotted, with ``NAME`` and ``[]`` for what a mapping and a list hold.
        kind: What it may be, for people.
        default: What it is when it is absent, for people; empty when that is nothing.
        meaning: What it is.
        settings: The variables that it becomes: Airflow's options, and others.
        reader: Who reads it besides Airflow; empty when nobody does.
        variable: The variable that stands for it; empty when there is none.
    """

    name: str
    kind: str
    default: str
    meaning: str
    settings: tuple[str, ...]
    reader: str
    variable: str = ""


@cache
def describe() -> Mapping[str, Key]:
    """Give all keys by name, in the order of the model."""
    return {name: key for name, key in _everything().items() if key.kind != _SECTION}


@cache
def sections() -> Mapping[str, str]:
    """Give what each section is, by its name."""
    return {name: key.meaning for name, key in _everything().items() if key.kind == _SECTION}


def find_keys(asked: str) -> tuple[Key, ...]:
    """Give the keys that somebody asks for.

    Args:
        asked: A key, also one of the file's own, such as ``actions.a.url``, ``budgets[0].limit_usd`` or ``fernet_key_file``; or a
            section, for all that is in it.

    Raises:
        ValueError: There is none; the message has the closest names.
    """
    name = asked.replace("-", "_").removeprefix("orchestrator.")
    keys = describe().values()
    for tried in (name, name.removesuffix("_file")):
        found = [key for key in keys if _is_or_is_in(key.name, tried)]
        # What a mapping holds that is no section has no description of its own.
        found = found or [key for key in keys if key.kind == "mapping" and re.match(rf"{_pattern(key.name)}\.", tried)]
        if found:
            return tuple(found)
    known = [*sections(), *describe()]
    ends = [each for each in known if each.endswith(f".{name}")]
    if ends:
        raise ValueError(f"no key is called {asked!r}; did you mean {' or '.join(map(repr, ends))}?")
    raise ValueError(nothing_called("key", asked, known))


def _is_or_is_in(name: str, asked: str) -> bool:
    ends = [match.start() for match in re.finditer(r"(?<=.)(?=[.\[])|$", name)]
    return any(re.fullmatch(_pattern(name[:end]), asked) for end in ends)


def _pattern(name: str) -> str:
    return re.escape(name).replace(r"\.NAME", r"\.[^.\[]+").replace(r"\[\]", r"\[\d*\]")


@cache
def _everything() -> Mapping[str, Key]:
    """Give all keys and sections by name, in the order of the model."""
    schema = Configuration.model_json_schema()
    # What depends on the machine is told in the meaning.
    defaults = Configuration().model_dump(
        mode="json", exclude={"home": True, "execution": {"executor": {"worker_threads"}}}
    )
    found: dict[str, Key] = {}
    for key in _keys(schema, schema["$defs"], "", defaults):
        # Of a key that several kinds of the same thing have, the kinds are listed.
        before = found.get(key.name)
        kinds = key.kind if before is None else " \\| ".join(dict.fromkeys([*before.kind.split(" \\| "), key.kind]))
        found[key.name] = replace(before or key, kind=kinds)
    return found


def key_table() -> str:
    """Give all keys as a Markdown table."""
    rows = []
    for key in describe().values():
        default = f"`{key.default}`" if key.default else ""
        rows.append(f"| `{key.name}` | {key.kind} | {default} | {_cell(key.meaning)} | {_cell(_effect(key))} |")
    return "\n".join(("| Key | Type | Default | Meaning | Read by |", "|---|---|---|---|---|", *rows)) + "\n"


_SECTION = "section"


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str, defaults: Any) -> Iterator[Key]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    for name, value in properties.items():
        dotted, resolved = f"{prefix}{name}", _resolved(value, definitions)
        default = defaults.get(name) if isinstance(defaults, dict) else value.get("default")
        meaning = value.get("description", resolved.get("description", ""))
        if "properties" in resolved:
            own = str(resolved["description"])
            yield Key(dotted, _SECTION, "", meaning if own.startswith("Section ") else own, (), "")
            yield from _keys(resolved, definitions, f"{dotted}.", default)
            continue
        yield Key(
            dotted,
            _kind(resolved, definitions),
            ""
            if default in (None, "", [], {})
            else str(default).lower()
            if isinstance(default, bool)
            else _plain(default),
            meaning,
            tuple(
                name
                for key, names in _becomes().items()
                if dotted == key or dotted.startswith(f"{key}.")
                for name in names
            ),
            reader_of(dotted),
            next((variable for variable, key in VARIABLES.items() if key == dotted), ""),
        )
        for mark, inner in ((".NAME", resolved.get("additionalProperties")), ("[]", resolved.get("items"))):
            for each in _sections(inner, definitions):
                yield from _keys(each, definitions, f"{dotted}{mark}.", None)


def _plain(default: object) -> str:
    if isinstance(default, dict):
        return ", ".join(f"{name}: {value}" for name, value in default.items())
    return ", ".join(map(str, default)) if isinstance(default, list) else str(default)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, and take away that something may also be nothing."""
    if "$ref" in schema:
        found: Mapping[str, Any] = definitions[schema["$ref"].rpartition("/")[2]]
        return _resolved(found, definitions)
    members = [member for member in schema.get("anyOf", ()) if member.get("type") != "null"]
    if len(members) == 1 and "format" not in schema:
        return {**_resolved(members[0], definitions)}
    return schema


def _sections(schema: Any, definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        members: Iterable[Mapping[str, Any]] = schema.get("oneOf") or schema.get("anyOf") or (schema,)
        for member in members:
            resolved = _resolved(member, definitions)
            if "properties" in resolved:
                yield resolved


def _kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    for member in (schema, *schema.get("anyOf", ())):
        if "enum" in member or "const" in member:
            return " \\| ".join(map(str, member.get("enum", (member.get("const"),))))
    if schema.get("format") == "password":
        return "secret"
    if "format" in schema:
        return str(schema["format"])
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    names |= {"array": "list", "object": "mapping"}
    kinds = [names.get(member.get("type"), "") for member in schema.get("anyOf", (schema,))]
    return " or ".join(dict.fromkeys(filter(None, kinds))) or "mapping"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _effect(key: Key) -> str:
    told = [*([key.reader] if key.reader else ()), *(f"`{name}`" for name in key.settings)]
    return ", ".join(told) or "Airflow"


@cache
def _becomes() -> Mapping[str, tuple[str, ...]]:
    """Give key to the variables it becomes, from configurations in which every setting occurs."""
    found: dict[str, dict[str, None]] = {}
    for values in _EVERYTHING:
        configuration = Configuration.model_validate(values)
        for setting in settings_of(configuration):
            found.setdefault(setting.source, {})[setting.variable] = None
    return {key: tuple(names) for key, names in found.items()}


_EVERYTHING: tuple[Mapping[str, Any], ...] = (
    {
        "server": {"mode": "edge-worker", "behind_proxy": True},
        "database": {"url": "postgresql://host/name"},
        "execution": {
            "executor": {"type": "celery"},
            "queue": {"url": "redis://host", "result_backend": "redis://host"},
            "resources": {"gpu_limit": 1},
        },
        "observability": {
            "logging": {"tasks": "s3://bucket/logs", "level": "trace"},
            "metrics": {"statsd": "host:8125"},
            "tracing": {"enabled": True},
        },
        "storage": {"results": "s3://bucket/results", "s3": {"endpoint_url": "http://host"}},
        "security": {
            "authentication": {"jwt_secret": "x"},
            "fernet_key": "A" * 43 + "=",
            "session_key": "x",
        },
        "edge": {"enabled": True, "api_url": "https://host"},
    },
    {
        "server": {"execution_url": "http://host"},
        "cache": {"type": "redis", "url": "redis://host"},
        "execution": {"executor": {"type": "celery"}},
    },
    {"execution": {"executor": {"type": "celery"}, "queue": {"url": "amqp://host"}}},
    {"execution": {"executor": {"type": "celery"}, "queue": {"url": "redis://host"}}},
    {},
    {"server": {"tls": {"enabled": True, "cert_file": "/c", "key_file": "/k", "ca_file": "/a"}}},
)
