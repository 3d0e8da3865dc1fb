"""The simulator as a program and as an application: its own endpoints, its end, and requests of any form."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from airflow_llm_provider.simulator import SimulatorServer, create_app, example_rules

PROGRAM = [sys.executable, "-m", "airflow_llm_provider.cli", "simulator"]
KEY = {"authorization": "Bearer any"}
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "ping"}]}


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen([*PROGRAM, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "running on" in line)
            found = re.search(r"http://[\d.:]+", line)
            assert found
            yield process, found[0]
        finally:
            process.kill()


def test_the_program(tmp_path: Path, closed_port: int) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {match: ping, answer: pong}\n")
    with (
        program("--port", str(closed_port), "--rules", str(rules)) as (process, url),
        httpx.Client(base_url=url) as client,
    ):
        assert url == f"http://127.0.0.1:{closed_port}"
        assert client.get("/health").json() == {"status": "healthy"}
        answer = client.post("/v1/chat/completions", json=QUESTION, headers=KEY).json()
        assert answer["choices"][0]["message"]["content"] == "pong"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_program_ends_in_the_middle_of_a_stream(sent: signal.Signals) -> None:
    with program("--port", "0") as (process, url), httpx.Client(base_url=url) as client:
        client.post("/_simulator/faults", json=[{"delay": 3600}]).raise_for_status()
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json={**QUESTION, "stream": True}, headers=KEY, timeout=0.05)
        process.send_signal(sent)
        process.wait(timeout=30)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the rules"),
        ("- {match: '('}\n", "rule 0.match"),
        ("- {answr: x}\n", "rule 0.answr"),
        ("a: [", "is not YAML"),
    ],
)
def test_rules_that_cannot_be_read(tmp_path: Path, content: str | None, message: str) -> None:
    rules = tmp_path / "rules.yaml"
    if content is not None:
        rules.write_text(content)
    done = subprocess.run([*PROGRAM, "--rules", str(rules)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_told(server: SimulatorServer) -> None:
    port = server.base_url.rpartition(":")[2]
    done = subprocess.run([*PROGRAM, "--port", port], capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode != 0
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


# ----------------------------------------------------------------- its endpoints


@pytest.fixture
def client(server: SimulatorServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, headers=KEY) as client:
        yield client


def test_faults_stats_and_reset(client: httpx.Client) -> None:
    assert client.post("/_simulator/faults", json=[{"status": 429, "times": 2}, {"status": 500}]).status_code == 204
    codes = [client.post("/v1/chat/completions", json=QUESTION).status_code for _ in range(4)]
    assert codes == [429, 429, 500, 200]
    stats = client.get("/_simulator/stats").json()
    assert (stats["calls"], stats["answered"], len(stats["requests"])) == (4, 1, 4)
    assert stats["requests"][0]["body"] == QUESTION
    assert "authorization" not in stats["requests"][0]["headers"]
    client.post("/_simulator/faults", json=[{"status": 500}])
    assert client.delete("/_simulator").status_code == 204
    assert client.get("/_simulator/stats").json() == {"calls": 0, "answered": 0, "requests": []}
    assert client.post("/v1/chat/completions", json=QUESTION).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}",
        b'[{"status": 200}]',
        b'[{"status": 600}]',
        b'[{"stat": 500}]',
        b'[{"drop": "end"}]',
        b'[{"match": "("}]',
        b'[{"times": 0}]',
        b'[{"delay": -1}]',
    ],
)
def test_faults_that_are_none(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/_simulator/faults", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert client.post("/v1/chat/completions", json=QUESTION).status_code == 200


def test_a_fault_waits_for_its_call(client: httpx.Client) -> None:
    faults = [
        {"status": 500, "match": "^b"},
        {"status": 529, "provider": "anthropic"},
        {"status": 503, "match": "input"},
    ]
    client.post("/_simulator/faults", json=faults)

    def ask(text: str) -> int:
        body = {**QUESTION, "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "bye"}]}
        return client.post("/v1/chat/completions", json=body).status_code

    assert [ask("a"), ask("b"), ask("b")] == [200, 500, 200]
    claude = {**QUESTION, "max_tokens": 9}
    headers = {"anthropic-version": "2023-06-01"}
    codes = [client.post("/v1/messages", json=claude, headers=headers).status_code for _ in range(2)]
    assert codes == [529, 200]
    embed = {"model": "m", "input": "some input", "dimensions": 2}
    assert [client.post("/v1/embeddings", json=embed).status_code for _ in range(2)] == [503, 200]


def test_rules_are_used_up_and_reset() -> None:
    from airflow_llm_provider.clients.rules import read_rules

    rules = read_rules([{"answer": "first", "times": 1}, {"answer": "then"}], "rules")
    with SimulatorServer(rules) as server, httpx.Client(base_url=server.openai_base_url, headers=KEY) as client:

        def ask() -> Any:
            return client.post("/chat/completions", json=QUESTION).json()["choices"][0]["message"]["content"]

        assert [ask(), ask()] == ["first", "then"]
        server.simulator.reset()
        assert ask() == "first"


def test_the_anthropic_version_is_asked_for(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json={**QUESTION, "max_tokens": 9})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_example_rules_answer() -> None:
    assert len(example_rules()) > 5


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = JSON | st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "assistant"]), "content": JSON}), max_size=3
)
BODIES = JSON | st.fixed_dictionaries(
    {},
    optional={
        "model": st.just("m") | JSON,
        "messages": MESSAGES,
        "max_tokens": st.integers(-1, 3) | JSON,
        "temperature": JSON,
        "system": JSON,
        "stream": JSON,
        "stream_options": st.just({"include_usage": True}) | JSON,
        "response_format": st.fixed_dictionaries(
            {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"schema": JSON})}
        )
        | JSON,
        "input": JSON,
        "dimensions": st.integers(-1, 3) | JSON,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings"]),
    version=st.sampled_from(["2023-06-01", "2026-10-21"]),
    body=BODIES,
)
def test_any_body_is_answered_or_refused(path: str, version: str, body: Any) -> None:
    client = TestClient(create_app(), raise_server_exceptions=True)
    answer = client.post(path, json=body, headers={**KEY, "anthropic-version": version})
    assert answer.status_code in (200, 400)
