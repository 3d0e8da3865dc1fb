"""The part of orchestrator.yaml that running steps needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_llm_provider.config.reading import read_configuration
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
        ("integrations: {llm_forge: {api_keys: [sk-12345]}}", "'api_keys' must be a mapping, not a list"),
        (
            "integrations: {llm_forge: {api_keys: {openai: [sk-12345]}}}",
            "1:47: 'openai' must be a text, not a list",
        ),
        (
            "integrations:\n  llm_forge:\n    api_keys: {openai: sk-12345: sk-6789}\n",
            "orchestrator.yaml:3:32: not YAML: ",
        ),
        ("execution: {executor: {task_timeout: soon}}", "'soon' is no duration"),
        (
            "fault_tolerance: {retry: {default_max_attempts: many}}",
            "'default_max_attempts' must be a whole number, not 'many'",
        ),
        ("actions: {a: {url: sk-12345}}", "1:14: missing key 'type'; add 'type'"),
        (
            "actions: {a: {type: hook, url: sk-12345}}",
            "1:21: 'type' is 'hook'; expected one of webhook, slack, email, queue",
        ),
        ("actions: {a: {type: webhook}}", "1:14: missing key 'url'; add 'url'"),
        ("actions: {a: {type: webhook, url: [sk-12345]}}", "1:35: 'url' must be a text, not a list"),
        ("actions: {a: {type: queue, list: one, stream: two}}", "1:14: 'a': give 'stream' or 'list', not both"),
        ("actions: {log: {type: queue}}", "'actions': 'log' is built in; give the action another name"),
        ("actions: {a b: {type: queue}}", "'actions': 'a b' is no name of an action; use letters, digits"),
        ("smtp: {host: mail}", "'smtp': 'from' is missing; write the address that mails are sent from"),
        ("smtp: {host: h, from: flows}", "'from': this is no mail address; write name@example.com"),
        ("smtp: {host: h, from: a@b.c, port: 0}", "'port' is 0; at least 1 is needed"),
        ("alerts: {to: 'a@b.c, flows'}", "'to': address 2 is none; write name@example.com"),
        ("alerts: {channel: pigeon}", "'channel' is 'pigeon'; expected one of slack, email, webhook"),
        ("slack: {webhook: sk-12345}", "unknown key 'webhook'; did you mean 'webhook_url'?"),
        (
            "storage: {s3: {access_key_id: sk-12345}}",
            "'s3': give 'access_key_id' and 'secret_access_key' together",
        ),
    ],
)
def test_what_is_wrong_with_a_file_never_shows_a_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert message in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert "sk-" not in "".join(problem.excerpt() for problem in read_configuration(path, {}).problems)


TARGETS = """
actions:
  publish: {type: webhook, url: "https://sk-1", headers: {authorization: sk-2}}
  page: {type: slack, webhook_url: "https://sk-3"}
  queue: {type: queue, redis_url: "redis://:sk-4@host"}
alerts: {webhook_url: "https://sk-5", channel: "${TEST_UNSET}"}
slack: {webhook_url: "https://sk-6"}
smtp: {host: mail, user: flows@example.com, password: sk-7}
storage: {s3: {access_key_id: sk-8, secret_access_key: sk-9}, options: {gs: {token: sk-10}}}
"""


def test_targets_keep_their_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_UNSET", raising=False)
    path = tmp_path / "orchestrator.yaml"
    path.write_text(TARGETS)
    settings = load_settings(path)
    assert {name: target.type for name, target in settings.actions.items()} == {
        "publish": "webhook",
        "page": "slack",
        "queue": "queue",
    }
    assert settings.alerts.channel is None
    assert settings.storage.options == {"gs": {"token": "sk-10"}}
    assert "sk-" not in repr(settings)


def test_what_is_empty_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(
        "slack: {webhook_url: ''}\nsmtp: {host: '', from: ''}\nalerts: {to: '', webhook_url: ''}\n"
        "actions: {a: {type: webhook, url: ''}}\nstorage: {s3: {access_key_id: '', secret_access_key: ''}}\n"
    )
    settings = load_settings(path)
    assert (settings.slack.webhook_url, settings.smtp.host, settings.alerts.to) == (None, None, ())
    assert settings.actions["a"].model_dump()["url"] is None
    assert settings.storage.s3.access_key_id is None


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none.yaml:1:1: the configuration cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml")
