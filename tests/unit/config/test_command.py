"""``llm-orchestrator config``: what it prints, and what it never prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_llm_provider.cli import main

FILE = """
actions: {a: {type: webhook, url: "https://host/hunter"}, my-hook: {type: queue, redis_url: ~}}
budgets: [{limit_usd: 5}]
database: {url: "postgresql://user:p%40hunter@host/db"}
cache: {type: redis, url: "redis://:hunter@host?ssl_key_password=hunter"}
integrations: {llm_forge: {api_keys: {openai: hunter}}}
storage: {options: {gs: {token: hunter}}}
airflow: {core: {parallelism: 4, fernet_key: hunter}, webserver: {base_url: "https://user:hunter@host"}}
fault-tolerance: {circuit-breaker: {timeout: 2m}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("AIRFLOW_HOME")
    path = tmp_path / "orchestrator.yaml"
    path.write_text(FILE)
    return path


def test_show_prints_what_somebody_has_set(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "hunter" not in shown
    lines = [line.partition("  #")[0].rstrip() for line in shown.splitlines()]
    assert lines == [
        "database:",
        '  url: "postgresql://user:***@host/db"',
        "cache:",
        '  type: "redis"',
        '  url: "redis://:***@host?ssl_key_password=***"',
        "fault_tolerance:",
        "  circuit_breaker:",
        '    timeout: "2m"',
        f"budgets: {json.dumps([BUDGET])}",
        "integrations:",
        "  llm_forge:",
        "    api_keys:",
        '      openai: "***"',
        "actions:",
        "  a:",
        '    type: "webhook"',
        '    url: "***"',
        "  my-hook:",
        '    type: "queue"',
        "    redis_url: null",
        "storage:",
        '  options: "***"',
        "airflow:",
        "  core:",
        "    parallelism: 4",
        '    fernet_key: "***"',
        "  webserver:",
        '    base_url: "***"',
    ]


BUDGET = {
    "name": "", "limit_usd": 5.0, "period": "day", "workflow": "*", "team": "*", "labels": {}, "each": [],
    "on_exceeded": "fail", "approvers": [], "downgrade_to": None,
}  # fmt: skip


def test_env_prints_no_secret(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "env", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "AIRFLOW__CORE__PARALLELISM=4" in shown
    assert "hunter" not in shown


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("actions.a.url", "actions.NAME.url\n|now       ***, from FILE:2"),
        ("actions.my-hook.type", "now       queue, from FILE:2"),
        ("budgets[0].limit_usd", "budgets[].limit_usd\n|now       5.0, from FILE:3"),
        ("integrations.llm_forge.api_keys.openai", "integrations.llm_forge.api_keys\n|now       ***, from FILE:6"),
        ("airflow.core.parallelism", "airflow\n|now       4, from FILE:8"),
        ("security.fernet_key_file", "security.fernet_key\n"),
        ("orchestrator.fault-tolerance.circuit-breaker.timeout", "now       2m, from FILE:9"),
        ("database.url", "now       postgresql://user:***@host/db, from FILE:4"),
        ("cache.url", "now       redis://:***@host?ssl_key_password=***, from FILE:5"),
        ("server.tls", "server.tls\n  Encryption of what the servers answer|\nserver.tls.cert_file\n"),
        ("server.host", "now       127.0.0.1, from default"),
    ],
)
def test_explain(file: Path, capsys: pytest.CaptureFixture[str], key: str, told: str) -> None:
    assert main(["config", "explain", key, "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert [part for part in told.replace("FILE", str(file)).split("|") if part not in shown] == []
    assert "hunter" not in shown


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("circuit-breaker", "no key is called 'circuit-breaker'; did you mean 'fault_tolerance.circuit_breaker'?"),
        ("servr", "no key is called 'servr'; did you mean 'server'?"),
    ],
)
def test_explain_suggests(capsys: pytest.CaptureFixture[str], key: str, told: str) -> None:
    assert main(["config", "explain", key]) == 2
    assert told in capsys.readouterr().err


def test_a_broken_file_is_told_of(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("server: {prot: 1}")
    assert main(["config", "explain", "server.host", "--config", str(file)]) == 2
    assert "unknown key 'prot'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("github", "::error::$RUST_LOG: 'level' is 'loud'"),
        ("json", '"line": null'),
        ("sarif", '"locations": []'),
    ],
)
def test_a_variable_is_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str, told: str
) -> None:
    monkeypatch.setenv("RUST_LOG", "loud")
    assert main(["config", "check", "--format", form]) == 2
    assert told in capsys.readouterr().out
