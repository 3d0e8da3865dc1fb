"""``llm-orchestrator health``, where something is wrong; that it is content with what works is shown by the deployments."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest

from airflow_llm_provider.cli import main
from tests.conftest import free_port


def asked(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Ask, and give the exit code and what was said."""
    config = tmp_path / "orchestrator.yaml"
    config.write_text(f"home: {tmp_path}/home\n{text}")
    code = main(["health", "--config", str(config), *options])
    return code, capsys.readouterr().out.strip()


def test_nothing_was_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(tmp_path, "", capsys) == (1, f"nothing was started from {tmp_path}/home yet")


def test_servers_that_do_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    code, said = asked(tmp_path, f"server: {{port: {{http: {port}}}}}\n", capsys, "--mode", "standalone")
    assert code == 1
    assert said == f"api-server does not answer at http://127.0.0.1:{port}/api/v2/monitor/health (ConnectError)"


@pytest.mark.parametrize(
    ("host", "ago", "expected"),
    [
        (socket.gethostname(), 3, (0, "scheduler is at work")),
        (socket.gethostname(), 300, (1, "the SchedulerJob was last heard of 300 s ago")),
        ("another", 3, (1, f"no SchedulerJob was heard of on {socket.gethostname()}")),
    ],
)
def test_a_component_is_known_by_its_sign_of_life(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    database: str,
    host: str,
    ago: int,
    expected: tuple[int, str],
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE job (job_type text, hostname text, state text, latest_heartbeat timestamptz)")
        heard = "INSERT INTO job VALUES ('SchedulerJob', %s, 'running', now() - make_interval(secs => %s))"
        connection.execute(heard, (host, ago))
    assert asked(tmp_path, f"database: {{url: '{database}'}}\n", capsys, "--mode", "scheduler") == expected


def test_a_database_and_a_queue_that_are_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"""
database: {{url: "postgresql://u:hunter-2@127.0.0.1:{free_port()}/d"}}
execution: {{queue: {{url: "redis://:hunter-3@127.0.0.1:{free_port()}/0"}}}}
"""
    assert asked(tmp_path, text, capsys, "--mode", "triggerer") == (
        1,
        "the database cannot be asked (OperationalError)",
    )
    code, said = asked(tmp_path, text, capsys, "--mode", "worker")
    assert code == 1
    assert said == "the queue cannot be asked (OperationalError)"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("scheduler", "the database cannot be asked (OperationalError)"),
        ("worker", "the file names no queue; write execution.queue.url"),
    ],
)
def test_a_mode_that_the_file_is_not_made_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, expected: str
) -> None:
    assert asked(tmp_path, "", capsys, "--mode", mode) == (1, expected)
    assert not (tmp_path / "home").exists()


def test_a_worker_at_another_site_is_not_ended_because_the_link_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "edge: {api_url: 'http://127.0.0.1:1'}\n"
    assert asked(tmp_path, text, capsys, "--mode", "edge-worker") == (0, "edge-worker is at work")
