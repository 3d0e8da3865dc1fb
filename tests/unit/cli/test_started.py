"""What a server was started as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_llm_provider.cli import started
from airflow_llm_provider.cli.started import Started
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.reading import read_configuration


@dataclass(frozen=True)
class Case:
    """A file, what it says later, and what has changed then."""

    before: str
    after: str
    changed: list[str]


CASES = (
    Case("", "", []),
    Case("{database: {url: 'sqlite:////a.db'}}", "{database: {url: 'sqlite:////b.db'}}", ["database.url"]),
    Case("", "{execution: {resources: {cpu_limit: 1}}}", ["execution.resources.cpu_limit"]),
    Case("", "{observability: {logging: {output: /tmp/log}}}", ["observability.logging.output"]),
    Case("", "{server: {mode: api}}", []),
    Case(
        "{airflow: {smtp: {smtp_password: one}}}",
        "{airflow: {smtp: {smtp_password: two}}}",
        ["airflow.smtp.smtp_password"],
    ),
    Case(
        "{prices: [{input: 1}]}",
        "{prices: [{input: 2}]}",
        ["prices[0].input"],
    ),
)


def configuration(folder: Path, text: str) -> Configuration:
    path = folder / "orchestrator.yaml"
    path.write_text(text)
    return read_configuration(path, {}).valid()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.after or "nothing")
def test_what_has_changed(tmp_path: Path, case: Case) -> None:
    Started.of(configuration(tmp_path, case.before)).write(tmp_path)
    read = Started.read(tmp_path)
    assert read is not None
    assert read.changed(configuration(tmp_path, case.after)) == case.changed


def test_another_version_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was = Started.of(configuration(tmp_path, ""))
    monkeypatch.setattr(started, "version", lambda name: f"{name} of tomorrow")
    assert was.changed(configuration(tmp_path, "")) == ["airflow-llm-provider", "apache-airflow-core"]


def test_it_tells_no_secret_and_is_private(tmp_path: Path) -> None:
    text = "{database: {url: 'postgresql://u:hunter-2@h/d'}}"
    one, two = (Started.of(configuration(tmp_path, text)) for _ in range(2))
    assert one.settings["database.url"] != two.settings["database.url"]
    one.write(tmp_path)
    assert "hunter" not in (tmp_path / "started.json").read_text()
    assert (tmp_path / "started.json").stat().st_mode & 0o777 == 0o600
