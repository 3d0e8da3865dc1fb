"""Which programs a mode is made of, where they listen, and what they get to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_llm_provider.cli import components as module
from airflow_llm_provider.cli.components import component_environment, components, listeners
from airflow_llm_provider.config.configuration import Configuration

BACKENDS: dict[str, dict[str, str]] = {
    "the queue": {"url": "redis://host"},
    "the database": {"url": "amqp://host"},
    "a database of its own": {"url": "redis://host", "result_backend": "db+postgresql://other/d"},
}
"""Where the results are kept, to the section ``execution.queue``."""

SYSTEM: dict[str, Any] = {
    "database": {"url": "postgresql://host/name"},
    "security": {"authentication": {"jwt_secret": "j" * 64}, "session_key": "s" * 64},
}


@dataclass(frozen=True)
class Listening:
    """Where the servers of a mode listen."""

    mode: str
    expected: dict[str, tuple[str, int]]
    sections: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "case",
    [
        Listening("standalone", {"server.port.http": ("0.0.0.0", 80), "server.port.execution": ("127.0.0.1", 81)}),
        Listening(
            "standalone",
            {"server.port.http": ("0.0.0.0", 80), "server.port.execution": ("0.0.0.0", 81)},
            {"edge": {"enabled": True}},
        ),
        Listening("api", {"server.port.http": ("0.0.0.0", 80), "server.port.execution": ("0.0.0.0", 81)}),
        Listening("scheduler", {}),
    ],
    ids=lambda case: f"{case.mode} {case.sections}",
)
def test_where_servers_listen(case: Listening) -> None:
    server = {"mode": case.mode, "host": "0.0.0.0", "port": {"http": 80}}
    assert listeners(Configuration.model_validate({**case.sections, "server": server})) == case.expected


@pytest.mark.parametrize("kept_in", BACKENDS)
@pytest.mark.parametrize("mode", ["worker", "scheduler"])
def test_a_worker_gets_to_know_what_it_needs(mode: str, kept_in: str) -> None:
    sections = {**SYSTEM, "server": {"mode": mode}, "execution": {"queue": BACKENDS[kept_in]}}
    given = component_environment(Configuration.model_validate(sections), None)
    names = ("DATABASE__SQL_ALCHEMY_CONN", "DATABASE__SQL_ALCHEMY_CONN_ASYNC", "API__SECRET_KEY")
    needs_all = mode == "scheduler" or kept_in != "the queue"
    assert [f"AIRFLOW__{name}" in given for name in names] == [needs_all] * 3
    assert given["AIRFLOW__API_AUTH__JWT_SECRET"] == "j" * 64


def test_the_scheduler_lets_tasks_end_within_the_time_of_the_unit() -> None:
    grace = {part.name: 10 if part.grace is None else part.grace for part in components(Configuration())}
    assert grace["scheduler"] > 30
    assert sum(grace.values()) < 90


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
