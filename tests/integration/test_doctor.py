"""``llm-orchestrator doctor``, beside real servers and where there are none."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis

from airflow_llm_provider.cli import looks_http, main
from airflow_llm_provider.cli.started import Started
from airflow_llm_provider.config.reading import read_configuration
from airflow_llm_provider.simulator import SimulatorServer
from tests.conftest import free_port


def looked(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, port: int = 0
) -> tuple[int, list[tuple[str, str]], str]:
    """Give the exit code, what was found, and all that was said."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        monkeypatch.delenv(name)
    config = tmp_path / "orchestrator.yaml"
    config.write_text(f"home: {tmp_path}/home\nserver: {{port: {{http: {port or free_port()}}}}}\n{text}")
    code = main(["doctor", "--config", str(config), "--output", "json"])
    said = capsys.readouterr().out
    return code, [(item["what"], item["verdict"]) for item in json.loads(said)], said


def test_all_is_well(
    tmp_path: Path,
    redis_url: str,
    postgres_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SimulatorServer() as simulator:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.openai_base_url)
        text = f"""
database: {{url: "{postgres_url}"}}
cache: {{type: redis, url: "{redis_url}"}}
fault_tolerance: {{checkpoint: {{storage: {tmp_path}/checkpoints}}}}
integrations: {{llm_forge: {{api_keys: {{openai: sk-right-0123456789}}}}}}
"""
        config = tmp_path / "orchestrator.yaml"
        config.write_text(f"home: {tmp_path}/home\n{text}")
        assert main(["db", "migrate", "--config", str(config)]) == 0
        capsys.readouterr()
        code, found, said = looked(tmp_path, text, capsys, monkeypatch)
    assert code == 0, said
    # Nothing is started here.
    assert {what for what, verdict in found if verdict == "warning"} == {"components"}
    assert {what for what, verdict in found if verdict == "ok"} == {
        "configuration", "disk", "database", "cache", "clock", "object storage", "providers",
    }  # fmt: skip
    assert "sk-right" not in said


def test_nothing_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://no-such-name.invalid")
    text = f"""
database: {{url: "postgresql://u:hunter-2@127.0.0.1:{free_port()}/d"}}
cache: {{type: redis, url: "redis://:hunter-3@127.0.0.1:{free_port()}/0"}}
execution: {{executor: {{type: celery}}, queue: {{url: "redis://:hunter-3@127.0.0.1:{free_port()}/0"}}}}
fault_tolerance: {{checkpoint: {{storage: "s3://bucket/x"}}}}
storage:
  results: s3://bucket/y
  s3: {{endpoint_url: "http://127.0.0.1:{free_port()}", region: r, access_key_id: k, secret_access_key: hunter-4}}
integrations: {{llm_forge: {{api_keys: {{openai: sk-hunter-5, anthropic: sk-hunter-6}}}}}}
"""
    code, found, said = looked(tmp_path, text, capsys, monkeypatch)
    assert code == 1
    # One that fails hides no other.
    assert sorted(what for what, verdict in found if verdict == "error") == [
        "cache", "database", "object storage", "object storage", "providers", "providers", "queue",
    ]  # fmt: skip
    fixes = {item["fix"] for item in json.loads(said)}
    assert {
        "nothing listens there: start it, or correct host and port in database.url",
        "nothing listens there: start it, or correct host and port in execution.queue.url",
        "no machine has that name: correct it in integrations.llm_forge, or the base URL of anthropic, or let this machine's DNS"
        " know it",
    } <= fixes
    assert "hunter" not in said


@pytest.fixture
def s3_url() -> Iterator[str]:
    """Start an S3 that holds nothing."""
    server = pytest.importorskip("moto.server", reason="stands for object storage").ThreadedMotoServer(
        "127.0.0.1", free_port(), verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_wrong_passwords_and_names(
    tmp_path: Path,
    redis_url: str,
    postgres_url: str,
    s3_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"""
database: {{url: "{postgres_url.replace("/postgres?", "/no-such-database?")}"}}
cache: {{type: redis, url: "{redis_url.replace("redis://", "redis://nobody:hunter-3@")}"}}
fault_tolerance: {{checkpoint: {{storage: "s3://no-such-bucket/x"}}}}
storage: {{s3: {{endpoint_url: "{s3_url}", region: eu-west-1, access_key_id: k, secret_access_key: hunter-4}}}}
"""
    _, _, said = looked(tmp_path, text, capsys, monkeypatch)
    fixes = {item["what"]: item["fix"] for item in json.loads(said)}
    assert fixes["database"].startswith("there is no such database")
    assert fixes["cache"] == "the password or the key is wrong: correct it in cache.url"
    assert fixes["object storage"].startswith("there is no such bucket")
    assert "hunter" not in said


def test_a_redis_that_does_not_tell_how_it_is_set(
    tmp_path: Path, redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.acl_setuser("doctor", enabled=True, passwords=["+hunter-7"], categories=["+@all"], commands=["-config"])
        url = redis_url.replace("redis://", "redis://doctor:hunter-7@")
        _, found, said = looked(tmp_path, f"cache: {{type: redis, url: '{url}'}}", capsys, monkeypatch)
        client.acl_deluser("doctor")
    assert {verdict for what, verdict in found if what == "cache"} == {"ok"}
    assert "does not tell" in said


@dataclass(frozen=True)
class Answer:
    """What a provider answers when it is asked for its models, and what follows."""

    status: int
    kind: str
    verdict: str
    said: str


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "application/json", "ok", "openai answers, and takes the key"),
        Answer(200, "text/html", "error", "correct the base URL of openai"),
        Answer(401, "application/json", "error", "openai refuses the key (401)"),
        Answer(404, "application/json", "error", "correct the base URL of openai"),
        Answer(429, "application/json", "warning", "no more requests left"),
        Answer(503, "application/json", "warning", "openai answers 503"),
    ],
    ids=lambda answer: f"{answer.status} {answer.kind}",
)
def test_what_a_provider_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    class Provider(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer.status)
            self.send_header("content-type", answer.kind)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *values: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        # A proxy is not for this machine.
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        text = "integrations: {llm_forge: {token: t, api_keys: {openai: sk-0123456789}}}"
        _, found, said = looked(tmp_path, text, capsys, monkeypatch)
        server.shutdown()
    # LLM-Forge has a key as well.
    assert [verdict for what, verdict in found if what == "providers"] == [answer.verdict, "ok"]
    assert answer.said in said
    # There is neither Redis nor PostgreSQL whose clock could be asked.
    assert ("clock", "ok") in found


def test_it_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found, _ = looked(tmp_path, f"database: {{url: 'sqlite:///{tmp_path}/none.db'}}", capsys, monkeypatch)
    assert ("database", "error") in found
    assert [path.name for path in tmp_path.iterdir()] == ["orchestrator.yaml"]


def test_what_was_started_is_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    Started("standalone").write(home)
    with contextlib.closing(sqlite3.connect(home / "airflow.db")) as connection:
        connection.execute("CREATE TABLE job (job_type text, hostname text, state text, latest_heartbeat text)")
        heard = "INSERT INTO job VALUES (?, 'here', 'running', datetime('now', ?))"
        connection.execute(heard, ("SchedulerJob", "+60 seconds"))
        connection.execute(heard, ("TriggererJob", "-300 seconds"))
        connection.commit()
    code, found, said = looked(tmp_path, "", capsys, monkeypatch)
    assert code == 1
    assert [verdict for what, verdict in found if what == "components"] == ["error", "ok", "error", "error"]
    assert "no dag-processor is at work" in said
    assert "the triggerer was last heard of" in said


def test_an_edge_site_asks_its_centre(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""
edge: {{api_url: "http://127.0.0.1:{free_port()}"}}
security: {{authentication: {{jwt_secret: {"s" * 64}}}}}
"""
    monkeypatch.setenv("ORCHESTRATOR_MODE", "edge-worker")
    _, found, said = looked(tmp_path, text, capsys, monkeypatch)
    assert [verdict for what, verdict in found if what == "centre"] == ["error", "error"]
    assert "correct host and port in edge.api_url" in said
    assert "correct host and port in server.execution_url" in said
    assert not {"database", "cache", "components"} & {what for what, _ in found}


def test_what_has_changed_since_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(f"home: {tmp_path}/home\n")
    Started.of(read_configuration(path, {}).valid()).write(tmp_path / "home")
    text = "execution: {resources: {cpu_limit: 1}}\n"
    _, found, said = looked(tmp_path, text, capsys, monkeypatch)
    assert ("configuration", "warning") in found
    assert "changed since the server was started: execution.resources.cpu_limit, server.port.http" in said
    assert ("database", "error") in found
    assert "run: llm-orchestrator db init" in said


def test_a_component_whose_mode_was_named_has_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, text = free_port(), "execution: {queue: {url: redis://127.0.0.1/0}}\n"
    path = tmp_path / "orchestrator.yaml"
    path.write_text(f"home: {tmp_path}/home\nserver: {{port: {{http: {port}}}}}\n{text}")
    Started.of(read_configuration(path, {"ORCHESTRATOR_MODE": "worker"}).valid()).write(tmp_path / "home")
    _, found, _ = looked(tmp_path, text, capsys, monkeypatch, port)
    assert ("configuration", "ok") in found


@pytest.mark.parametrize(("there", "verdict"), [(1001.0, "ok"), (1003.0, "error")])
def test_clocks(monkeypatch: pytest.MonkeyPatch, there: float, verdict: str) -> None:
    monkeypatch.setattr(looks_http.time, "time", lambda: 1000.0)
    assert looks_http.clock("x", there).verdict == verdict
