"""A simulator for the tests, over loopback HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from airflow_llm_provider.clients.rules import read_rules
from airflow_llm_provider.simulator import SimulatorServer

RULES = [
    {"match": "^sentiment", "answer": "positive"},
    {"match": "^unicode", "answer": "Zürich\u2028→\u0085 日本語 👍 \x0b\x1c end"},
    {"match": "^long", "answer": "word " * 200},
    {"match": "^empty", "answer": ""},
    {"match": "^object", "answer": {"label": "a", "score": 1}},
]


@pytest.fixture(scope="session")
def running_server() -> Iterator[SimulatorServer]:
    with SimulatorServer(read_rules(RULES, "the tests' rules")) as server:
        yield server


@pytest.fixture
def server(running_server: SimulatorServer) -> SimulatorServer:
    """The server, with nothing of an earlier test in it; to start and to end one takes a tenth of a second."""
    running_server.simulator.reset()
    return running_server


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
