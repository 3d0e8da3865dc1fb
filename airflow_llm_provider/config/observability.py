"""What ``orchestrator.yaml`` says of logs, metrics and traces: the section ``observability``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import Place, Port, Section, WebAddress

__all__ = ["Logging", "Metrics", "Observability", "Tracing"]


def _level(value: object) -> object:
    """Take the level from what RUST_LOG may hold: ``orchestrator=debug,info``, the one without a module, else the first."""
    if not isinstance(value, str):
        return value
    parts = [part.strip().lower() for part in value.split(",") if part.strip()]
    plain = [part for part in parts if "=" not in part] or [part.rpartition("=")[2] for part in parts]
    return {"warning": "warn", "critical": "error"}.get(plain[0], plain[0]) if plain else value


_LEVELS = ("trace", "debug", "info", "warn", "error")
_IN_ANY_CASE = "|".join("".join(f"[{a}{a.upper()}]" for a in name) for name in (*_LEVELS, "warning", "critical"))

Level = Annotated[
    Literal["trace", "debug", "info", "warn", "error"],
    BeforeValidator(_level),
    WithJsonSchema(
        {"anyOf": [{"enum": [*_LEVELS]}, {"type": "string", "pattern": rf"^\s*([\w:]+=)?({_IN_ANY_CASE})\s*(,.*)?$"}]}
    ),
]
"""A level of messages, as people or ``RUST_LOG`` write it."""


class Logging(Section):
    """What components and tasks write: section ``observability.logging``.

    Attributes:
        level: The level from which on messages are written: trace, debug, info, warn or error. Airflow has no trace; it is debug,
            with every statement of the database.
        format: Whether a message is one JSON object a line, or a line for people.
        output: Where messages are written: ``stdout``, ``stderr``, or the path of a file.
        tasks: Where the logs of tasks go once they have ended, such as ``s3://bucket/logs``; by default they stay in the home.
    """

    level: Level = "info"
    format: Literal["json", "text"] = "text"
    output: str = Field(default="stdout", min_length=1)
    tasks: Place | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not re.fullmatch(r"stdout|stderr|.*[/.].*", self.output):
            raise ValueError(f"'output' is {self.output!r}; write stdout, stderr, or the path of a file")
        return self


def _page(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} is no path of a page; write one that begins with /, such as /metrics")
    return value


def _host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or ":" in host or not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{value!r} is no host with a port; write one such as statsd:8125")
    return value


class Metrics(Section):
    """Numbers for a monitoring system: section ``observability.metrics``.

    Attributes:
        enabled: Whether a deployment counts: on Kubernetes the chart's StatsD is started, which Prometheus reads.
        endpoint: Path of the page that Prometheus reads.
        port: Port of the page that Prometheus reads.
        statsd: ``host:port`` of a StatsD that Airflow's own numbers go to; by default nowhere.
        prometheus: Address of a Prometheus, for pages that show what it has kept.
    """

    enabled: bool = False
    endpoint: Annotated[str, AfterValidator(_page)] = "/metrics"
    port: Port = 9090
    statsd: Annotated[str, AfterValidator(_host_and_port)] | None = None
    prometheus: WebAddress | None = None


class Tracing(Section):
    """Spans of runs, tasks and calls: section ``observability.tracing``.

    Attributes:
        enabled: Whether spans of runs, tasks and calls are sent.
        exporter: What receives the spans: ``otlp``, or ``jaeger``, which speaks OTLP since 1.35 and only that since 2.0.
        endpoint: Address that spans are sent to; of a Jaeger, its old collector's address (port 14268) stands for its OTLP one
            (port 4318).
        sample_rate: Which part of the runs has spans, 0 to 1.
    """

    enabled: bool = False
    exporter: Literal["jaeger", "otlp"] = "otlp"
    endpoint: WebAddress = "http://localhost:4318/v1/traces"
    sample_rate: float = Field(default=1.0, ge=0, le=1)

    @property
    def spans_endpoint(self) -> str:
        """Where spans are sent: ``endpoint``, or the OTLP address that an old one of Jaeger's stands for."""
        host, old, _ = self.endpoint.partition(":14268")
        return f"{host}:4318/v1/traces" if old and self.exporter == "jaeger" else self.endpoint


class Observability(Section):
    """Section ``observability``.

    Attributes:
        logging: Logs.
        metrics: Numbers.
        tracing: Spans.
    """

    logging: Logging = Logging()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
