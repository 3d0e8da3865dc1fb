"""Airflow options that hold secrets are known as such."""

from __future__ import annotations

from pathlib import Path

import airflow
import pytest
import yaml
from airflow.providers.amazon.get_provider_info import get_provider_info as amazon
from airflow.providers.celery.get_provider_info import get_provider_info as celery

from airflow_llm_provider.config.airflow_options import is_secret_option
from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.reading import read_configuration

pytestmark = pytest.mark.airflow


def test_what_airflow_calls_sensitive_is_a_secret() -> None:
    own = yaml.safe_load((Path(airflow.__path__[0]) / "config_templates" / "config.yml").read_text(encoding="utf-8"))
    named = [
        name
        for section in (*own.values(), *celery()["config"].values(), *amazon()["config"].values())
        for name, option in section.get("options", {}).items()
        if option.get("sensitive")
    ]
    assert {"fernet_key", "broker_url", "result_backend"} <= {*named}
    assert [name for name in named if not is_secret_option(name)] == []


@pytest.mark.parametrize(
    "name", ["parallelism", "hide_sensitive_var_conn_fields", "remote_log_conn_id", "jwt_expiration_time"]
)
def test_what_says_nothing_secret_is_shown(name: str) -> None:
    assert not is_secret_option(name)


def test_an_option_that_holds_a_secret_is_one_wherever_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(
        "airflow:\n  core: {fernet_key: '${KEY}', parallelism: 7}\n  smtp: {smtp_password: geheim, port: []}\n"
    )
    reading = read_configuration(path, {"KEY": "schluessel"})
    told = "".join(problem.excerpt() for problem in reading.problems)
    assert "port: []" in told
    assert "geheim" not in told

    path.write_text(path.read_text().replace(", port: []", ""))
    configuration = read_configuration(path, {"KEY": "schluessel"}).valid()
    assert "geheim" not in repr(configuration)
    by_hand = {one.variable: one for one in settings_of(configuration) if getattr(one, "reason", "") == "set by hand"}
    assert {name: (one.value, one.is_secret) for name, one in by_hand.items()} == {
        "AIRFLOW__CORE__FERNET_KEY": ("schluessel", True),
        "AIRFLOW__CORE__PARALLELISM": ("7", False),
        "AIRFLOW__SMTP__SMTP_PASSWORD": ("geheim", True),
    }
