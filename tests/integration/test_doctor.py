"""``llm-orchestrator doctor``, beside real servers and where there are none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from airflow_llm_provider.cli import doctor, main
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
    text = f"""
database: {{url: "postgresql://u:hunter-2@127.0.0.1:{free_port()}/d"}}
cache: {{type: redis, url: "redis://:hunter-3@127.0.0.1:{free_port()}/0"}}
fault_tolerance: {{checkpoint: {{storage: "s3://bucket/x"}}}}
storage: {{s3: {{endpoint_url: "http://127.0.0.1:{free_port()}", region: r, access_key_id: k, secret_access_key: hunter-4}}}}
integrations: {{llm_forge: {{api_keys: {{openai: sk-hunter-5}}}}}}
"""
    code, found, said = looked(tmp_path, text, capsys, monkeypatch)
    assert code == 1
    errors = {what for what, verdict in found if verdict == "error"}
    assert errors == {"database", "cache and queue", "object storage", "providers"}
    assert "hunter" not in said


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


def test_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.time, "time", lambda: 1000.0)
    assert doctor._clock("x", 1001.0).verdict == "ok"
    assert doctor._clock("x", 1003.0).verdict == "error"
