"""What is wrong with a configuration although each of its values is right, and what somebody should know before it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.readers import missing_part
from airflow_llm_provider.config.section import Section

__all__ = ["Contradiction", "contradictions"]

_BROKERS = ("redis", "rediss", "unix", "sentinel", "amqp", "amqps", "sqs", "sqla+postgresql")
_LAST_PORT = 65535
_SHORT = 64
"""Characters of a secret below which the library that signs with it warns."""


@dataclass(frozen=True)
class Contradiction:
    """One trouble.

    Attributes:
        key: The dotted key that should be changed.
        message: What is wrong.
        suggestion: What to do.
        severity: Whether a server can still start.
        follows_from: Other dotted keys that it depends on; while something is wrong with one of them, nobody can tell.
    """

    key: str
    message: str
    suggestion: str = ""
    severity: Literal["error", "warning"] = "error"
    follows_from: tuple[str, ...] = ("server.mode", "execution.executor.type", "edge.enabled")


def contradictions(configuration: Configuration) -> Iterator[Contradiction]:
    """Look for troubles.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    yield from _between_processes(configuration)
    yield from _ports(configuration)
    yield from _security(configuration)
    yield from _not_there(configuration, Configuration(), "")
    tracing = configuration.observability.tracing
    if tracing.enabled and tracing.spans_endpoint != tracing.endpoint:
        yield Contradiction(
            "observability.tracing.endpoint",
            "port 14268 is Jaeger's old collector; spans go to its OTLP port, 4318",
            "write http://HOST:4318/v1/traces, and see to it that the port is open",
            "warning",
        )


def _between_processes(configuration: Configuration) -> Iterator[Contradiction]:
    mode = configuration.server.mode
    if mode == "edge-worker" or configuration.edge.enabled:
        yield from _edge(configuration)
    if mode == "edge-worker":
        return
    if configuration.edge.enabled and mode == "standalone" and configuration.server.tls.enabled:
        yield Contradiction(
            "server.tls.enabled",
            "tasks of this machine and of edge sites report to one server, whose certificate can be for one address only",
            "leave TLS to a proxy before it (server.behind_proxy: true), or take the modes api, scheduler and so on",
        )
    needs_none = mode == "worker" and not configuration.keeps_results_in_database
    shared = mode != "standalone" or configuration.executor != "local"
    if configuration.database.kind == "sqlite" and shared and not needs_none:
        yield Contradiction(
            "database.url",
            f"several machines cannot share SQLite, but the mode is {mode!r} and the executor {configuration.executor!r}",
            "write the URL of a PostgreSQL, or take the mode standalone with the executor local",
        )
    if "celery" in configuration.executor:
        yield from _broker(configuration)
    elif mode == "worker":
        yield Contradiction(
            "execution.executor.type",
            f"the mode {mode!r} has no tasks to take with executor type {configuration.executor!r}",
            "write celery",
        )
    if mode == "worker" and configuration.server.execution_url is None:
        yield Contradiction(
            "server.execution_url",
            f"the mode {mode!r} needs 'server.execution_url': by default its tasks report to this machine",
            "write where the server for tasks is, such as http://10.0.0.1:8081, or http://127.0.0.1:8081 if it is here",
            follows_from=("server.mode",),
        )
    if configuration.executor == "local" and mode not in ("standalone", "worker"):
        yield Contradiction(
            "execution.executor.type",
            f"the mode is {mode!r}, but the executor 'local' runs all tasks on the scheduler's machine",
            "write celery, and start workers",
            "warning",
        )


def _broker(configuration: Configuration) -> Iterator[Contradiction]:
    queue, broker = configuration.execution.queue, configuration.broker
    key = "execution.queue.url" if queue.url or broker is None else "cache.url"
    if broker is None:
        yield Contradiction(
            key,
            f"the mode {configuration.server.mode!r} needs a queue",
            "write execution.queue.url, such as redis://host:6379/0, or cache.type redis with a URL",
            follows_from=("server.mode", "execution.executor.type", "cache"),
        )
    elif urlsplit(broker).scheme not in _BROKERS:
        suggestion = "write one that begins with redis:// or amqp://"
        yield Contradiction(key, "the queue's URL is of no known kind", suggestion)


def _ports(configuration: Configuration) -> Iterator[Contradiction]:
    ports, balancer = configuration.server.port, configuration.topology.load_balancer
    # Without a certificate there is no https.
    balanced = ("http", "https", "stats") if balancer.certificate else ("http", "stats")
    if ports.for_tasks > _LAST_PORT:
        message = f"tasks would report to port {ports.for_tasks}, the next one after 'http', and there is none"
        yield Contradiction("server.port.http", message, f"write server.port.execution, or at most {_LAST_PORT - 1}")
    for section, named in (
        ("server.port", {"http": ports.http, "execution": ports.execution}),
        ("topology.load_balancer", {name: getattr(balancer, name) for name in balanced}),
    ):
        taken: dict[int, str] = {}
        for name, port in named.items():
            if port is not None and (first := taken.setdefault(port, name)) != name:
                message = f"{name!r} is {port}, and so is {first!r}"
                yield Contradiction(
                    f"{section}.{name}", message, "write another port", follows_from=(f"{section}.{first}",)
                )


def _not_there(section: Section, default: Section, prefix: str) -> Iterator[Contradiction]:
    """Look for what somebody has set, and nothing reads."""
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{prefix}{name}"
        if isinstance(value, Section):
            yield from _not_there(value, getattr(default, name), f"{key}.")
        elif value != getattr(default, name) and (part := missing_part(key)):
            message = f"{key!r} changes nothing; not part of this version: {part}"
            yield Contradiction(key, message, severity="warning", follows_from=())


def _edge(configuration: Configuration) -> Iterator[Contradiction]:
    edge, is_site = configuration.edge, configuration.server.mode == "edge-worker"
    if is_site:
        address, where = edge.api_url or "", "write where the centre is, such as https://orchestrator.example.com"
        if not address:
            yield Contradiction("edge.api_url", "the mode edge-worker needs 'edge.api_url'", where)
        elif urlsplit(address).path.rstrip("/").endswith("/execution"):
            message = f"{address!r} is where tasks report, not the centre"
            yield Contradiction("edge.api_url", message, "leave '/execution' away; server.execution_url may have it")
    # The edge provider's tables have 64 characters for a name, and 256 for the list of queues as Python writes it.
    if edge.name and len(edge.name) > 64:
        message = f"the name of an edge worker has 64 characters at most, not {len(edge.name)}"
        yield Contradiction("edge.name", message, "write a shorter one")
    if len(str([*edge.queues])) > 256:
        message = "the names of an edge worker's queues are too long for the edge provider's table"
        yield Contradiction("edge.queues", message, "write fewer or shorter ones")
    if not is_site:
        # Airflow's own name for the queue of all tasks that name none is 'default'.
        for queue in sorted({*edge.queues} & {"default", *configuration.execution.queue.names}):
            message = f"all tasks of the queue {queue!r} would go to the edge, and it is the centre's own"
            yield Contradiction("edge.queues", message, "give the site a queue of its own, such as [edge]")


def _security(configuration: Configuration) -> Iterator[Contradiction]:
    server, authentication = configuration.server, configuration.security.authentication
    if authentication.jwt_secret is None and (server.mode != "standalone" or configuration.edge.enabled):
        whose = "the centre of edge sites" if server.mode == "standalone" else f"the mode {server.mode!r}"
        yield Contradiction(
            "security.authentication.jwt_secret",
            f"{whose} needs 'jwt_secret': all processes sign with the same",
            "make one with: openssl rand -base64 48",
        )
    elif authentication.jwt_secret is not None and len(authentication.jwt_secret.get_secret_value()) < _SHORT:
        yield Contradiction(
            "security.authentication.jwt_secret",
            f"'jwt_secret' has less than {_SHORT} characters, the least that RFC 7518 asks for",
            "make one with: openssl rand -base64 48",
            "warning",
        )
    if server.mode not in ("standalone", "edge-worker") and configuration.security.fernet_key is None:
        yield Contradiction(
            "security.fernet_key",
            "'fernet_key' is made from 'jwt_secret'; connections become unreadable when that is changed",
            "make one with: openssl rand -base64 32 | tr '+/' '-_'",
            "warning",
        )
    if not authentication.enabled and server.host not in ("127.0.0.1", "localhost", "::1"):
        yield Contradiction(
            "security.authentication.enabled",
            f"whoever reaches {server.host} may do everything",
            "enable authentication, or listen on 127.0.0.1 only",
            "warning",
        )
    for name in ("cert_file", "key_file"):
        path = getattr(server.tls, name)
        if server.tls.enabled and not os.access(path, os.R_OK):
            yield Contradiction(f"server.tls.{name}", f"{path} cannot be read on this machine", severity="warning")
