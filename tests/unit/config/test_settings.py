"""The part of orchestrator.yaml that running steps needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_llm_provider.config.settings import Settings, load_settings
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.workflow.model import Retry

FILE = """
execution: {executor: {task_timeout: 5m}}
fault_tolerance: {retry: {default_max_attempts: 5, default_backoff_multiplier: 3, default_initial_interval: 500ms}}
integrations: {llm_forge: {api_keys: {openai: "${TEST_KEY}", anthropic: "${TEST_UNSET}"}}}
"""


def test_without_a_file_the_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATOR_CONFIG", raising=False)
    assert load_settings() == Settings()


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_variable: bool) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-12345")
    monkeypatch.delenv("TEST_UNSET", raising=False)
    path = tmp_path / "orchestrator.yaml"
    path.write_text(FILE)
    monkeypatch.setenv("ORCHESTRATOR_CONFIG", str(path))
    settings = load_settings() if by_variable else load_settings(path)
    assert settings.task_timeout == 300
    assert settings.retry == Retry(max_attempts=5, multiplier=3.0, initial_delay=0.5)
    assert {name: key.get_secret_value() for name, key in settings.api_keys.items()} == {"openai": "sk-12345"}
    assert "sk-12345" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "the file must be a mapping"),
        ("integrations: {llm_forge: {api_keys: [sk-12345]}}", "integrations.llm_forge.api_keys must be a mapping"),
        (
            "integrations: {llm_forge: {api_keys: {openai: [sk-12345]}}}",
            "api_keys.openai: Input should be a valid string",
        ),
        ("integrations:\n  llm_forge:\n    api_keys: {openai: sk-12345: sk-6789}\n", "orchestrator.yaml:3: not YAML: "),
        ("execution: {executor: {task_timeout: soon}}", "'soon' is no duration"),
        ("fault_tolerance: {retry: {default_max_attempts: many}}", "invalid literal for int"),
    ],
)
def test_what_is_wrong_with_a_file_never_shows_a_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert message in str(caught.value)
    assert "sk-" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the configuration .*: No such file"):
        load_settings(tmp_path / "none.yaml")
