"""What ``orchestrator.yaml`` says of logs, metrics and traces: the section ``observability``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import OptionalText, Port, Section

__all__ = ["Logging", "Metrics", "Observability", "Tracing"]


def _level(value: object) -> object:
    """Take the level from what RUST_LOG may hold: ``orchestrator=debug,info``, the one without a module, else the first."""
    if not isinstance(value, str):
        return value
    parts = [part.strip().lower() for part in value.split(",") if part.strip()]
    plain = [part for part in parts if "=" not in part] or [part.rpartition("=")[2] for part in parts]
    return {"warning": "warn", "critical": "error"}.get(plain[0], plain[0]) if plain else value


class Logging(Section):
    """What components and tasks write: section ``observability.logging``.

    Attributes:
        level: From which level on: trace, debug, info, warn or error. Airflow has no trace; it is debug, with every statement of
            the database.
        format: One JSON object a line, or lines for people.
        output: ``stdout``, ``stderr``, or a file.
        tasks: Where the logs of tasks go once they have ended, such as ``s3://bucket/logs``; by default they stay in the home.
    """

    level: Annotated[Literal["trace", "debug", "info", "warn", "error"], BeforeValidator(_level)] = "info"
    format: Literal["json", "text"] = "text"
    output: str = Field(default="stdout", min_length=1)
    tasks: OptionalText = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not re.fullmatch(r"stdout|stderr|.*[/.].*", self.output):
            raise ValueError(f"'output' is {self.output!r}; write stdout, stderr, or the path of a file")
        return self


class Metrics(Section):
    """Numbers for a monitoring system: section ``observability.metrics``.

    Attributes:
        enabled: Whether there are any.
        endpoint: Path of the page that Prometheus reads.
        port: Its port.
        statsd: ``host:port`` of a StatsD that Airflow's own numbers go to; by default nowhere.
        prometheus: Root of a Prometheus, for pages that show what it has kept.
    """

    enabled: bool = False
    endpoint: str = Field(default="/metrics", pattern="^/")
    port: Port = 9090
    statsd: Annotated[str | None, Field(pattern=r"^[^:]+:\d+$")] = None
    prometheus: OptionalText = None


class Tracing(Section):
    """Spans of runs, tasks and calls: section ``observability.tracing``.

    Attributes:
        enabled: Whether they are sent.
        exporter: What receives them: ``otlp``, or ``jaeger``, which speaks OTLP since 1.35 and only that since 2.0.
        endpoint: Where; of a Jaeger, its old collector's address (port 14268) stands for its OTLP one (port 4318).
        sample_rate: Which part of the runs, 0 to 1.
    """

    enabled: bool = False
    exporter: Literal["jaeger", "otlp"] = "otlp"
    endpoint: str = Field(default="http://localhost:4318/v1/traces", pattern="^https?://")
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
