"""What each key of ``orchestrator.yaml`` means, may be, and does: for ``config explain``, the table in the docs, and editors.

All of it is read off the JSON Schema of the model, whose descriptions are the docstrings of the sections, and off the settings that
:mod:`airflow_llm_provider.config.airflow_settings` makes; only who reads the other keys is said here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.reading import VARIABLES

__all__ = ["Key", "configuration_schema", "describe", "key_table"]

_LATER = "carried; not part of this version: "

_READERS: Mapping[str, str] = {
    "environment": "workflows, as `system.environment`",
    "home": "all components",
    "server.mode": "`llm-orchestrator server`",
    "server.port.grpc": _LATER + "the gRPC API",
    "server.tls.enabled": "the API server",
    "server.behind_proxy": "the API server (`--proxy-headers`)",
    "server.execution_url": "tasks",
    "database.type": "`llm-orchestrator server` and `db`",
    "database.pool.connection_timeout": "the database's URL (`connect_timeout`)",
    "database.migrations.auto_run": "`llm-orchestrator server`",
    "cache": "steps: cached answers, rate limits, circuit breakers and budgets",
    "execution.executor.task_timeout": "steps",
    "execution.executor.max_blocking_threads": "steps",
    "execution.resources": "`llm-orchestrator server`, and the rendered deployments",
    "execution.queue.names": "workers (`--queues`)",
    "fault_tolerance": "steps",
    "rate_limits": "steps",
    "prices": "steps",
    "budgets": "steps",
    "integrations.llm_forge": "steps",
    "integrations.llm_test_bench": _LATER + "the client of the evaluation service; steps evaluate by themselves",
    "integrations.llm_auto_optimizer": _LATER + "the client of the optimizer; steps record and recommend by themselves",
    "integrations.llm_governance": _LATER + "the client of the policy service; steps check by themselves",
    "actions": "steps",
    "alerts": "steps",
    "slack": "steps",
    "smtp": "steps",
    "storage": "steps",
    "observability.logging.output": "`llm-orchestrator server`",
    "observability.metrics": _LATER + "the metrics page",
    "observability.metrics.statsd": "",
    "observability.tracing": "all components, and steps",
    "security.authentication.provider": _LATER + "the login service",
    "security.authentication.admin_password": "API servers",
    "security.authorization": _LATER + "the login service",
    "security.audit": _LATER + "the audit log",
    "edge": "edge workers",
    "kubernetes": "`config render helm`",
    "topology.api_servers": "`config render haproxy`",
    "topology.load_balancer": "`config render haproxy`",
    "topology.postgres": "`config render patroni` and `haproxy`",
    "airflow": "Airflow",
}
"""Key, or section, to who reads it besides Airflow; the longest that fits counts."""


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


def configuration_schema() -> dict[str, Any]:
    """Give the JSON Schema of the file, for editors: any value may also be a text with a variable, and a secret have a file."""
    schema = copy.deepcopy(Configuration.model_json_schema())
    for section in (schema, *schema["$defs"].values()):
        properties = section.get("properties", {})
        for name, value in [*properties.items()]:
            if _is_secret(value):
                properties[f"{name}_file"] = {"type": "string", "description": f"Path of a file that holds {name}."}
            if (kind := _scalar(value)) is not None and kind != "string":
                described = {key: value.pop(key) for key in ("description", "default", "title") if key in value}
                properties[name] = {**described, "anyOf": [value, {"type": "string", "pattern": _WITH_VARIABLE}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "orchestrator.yaml"}


_WITH_VARIABLE = r"\$[({]\w+"


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str, defaults: Any) -> Iterator[Key]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    for name, value in properties.items():
        dotted, resolved = f"{prefix}{name}", _resolved(value, definitions)
        default = defaults.get(name) if isinstance(defaults, dict) else value.get("default")
        meaning = value.get("description", resolved.get("description", ""))
        if "properties" in resolved:
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
            _becomes().get(dotted, ()),
            _reader(dotted),
            next((variable for variable, key in VARIABLES.items() if key == dotted), ""),
        )
        for mark, inner in ((".NAME", resolved.get("additionalProperties")), ("[]", resolved.get("items"))):
            for each in _sections(inner, definitions):
                yield from _keys(each, definitions, f"{dotted}{mark}.", None)


def _plain(default: object) -> str:
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
    if "enum" in schema or "const" in schema:
        return " \\| ".join(map(str, schema.get("enum", (schema.get("const"),))))
    if schema.get("format") == "password":
        return "secret"
    if "format" in schema:
        return str(schema["format"])
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    names |= {"array": "list", "object": "mapping"}
    kinds = [names.get(member.get("type"), "") for member in schema.get("anyOf", (schema,))]
    return " or ".join(dict.fromkeys(filter(None, kinds))) or "mapping"


def _is_secret(schema: Mapping[str, Any]) -> bool:
    return any(member.get("format") == "password" for member in (schema, *schema.get("anyOf", ())))


def _scalar(schema: Mapping[str, Any]) -> str | None:
    """Give the type of a value that is no section, list or mapping."""
    kinds = [
        member.get("type") for member in (schema, *schema.get("anyOf", ())) if member.get("type") not in (None, "null")
    ]
    if "enum" in schema:
        return "enum"
    if not kinds or {"object", "array"} & {*kinds}:
        return None
    return "string" if {*kinds} == {"string"} else str(kinds[0])


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
        "server": {"mode": "edge-worker"},
        "database": {"url": "postgresql://host/name"},
        "execution": {"executor": {"type": "celery"}, "queue": {"url": "redis://host"}, "resources": {"gpu_limit": 1}},
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
    {"server": {"tls": {"enabled": True, "cert_file": "/c", "key_file": "/k", "ca_file": "/a"}}},
)


def _reader(dotted: str) -> str:
    fits = [key for key in _READERS if dotted == key or dotted.startswith((f"{key}.", f"{key}["))]
    return _READERS[max(fits, key=len)] if fits else ""
