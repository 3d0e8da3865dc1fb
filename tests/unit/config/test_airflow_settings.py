"""The Airflow settings, held against what Airflow itself says about its options."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from airflow_llm_provider.config import airflow_settings
from airflow_llm_provider.config.airflow_settings import (
    FAN_OUT,
    LOCAL,
    RESPONSIVE,
    SECRET_OPTIONS,
    Setting,
    environment,
    local_settings,
    secret_settings,
)

API_SERVER_THREADS = 40

SECRETS = {name: f"value of {name}" for name in SECRET_OPTIONS}


@pytest.fixture(scope="module")
def known_options() -> dict[str, dict[str, Any]]:
    """Give Airflow's own description of its options, without importing Airflow."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations))) / "config_templates" / "config.yml"
    sections: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return {name: section["options"] for name, section in sections.items()}


def the_settings(tmp_path: Path) -> tuple[Setting, ...]:
    settings = local_settings(tmp_path / "home", tmp_path / "dags", 8181, 8182, tmp_path / "passwords.json")
    return (*settings, *secret_settings(SECRETS))


def test_airflow_knows_every_option(tmp_path: Path, known_options: dict[str, dict[str, Any]]) -> None:
    unknown = [item for item in the_settings(tmp_path) if item.key not in known_options.get(item.section, {})]
    assert unknown == []


def test_no_setting_repeats_airflows_default_without_need(known_options: dict[str, dict[str, Any]]) -> None:
    same = [item for item in (*FAN_OUT, *RESPONSIVE) if known_options[item.section][item.key]["default"] == item.value]
    assert same == []


def test_every_setting_has_a_reason_and_is_there_once(tmp_path: Path) -> None:
    settings = the_settings(tmp_path)
    assert all(item.reason and "\n" not in item.reason for item in settings)
    assert len({item.variable for item in settings}) == len(settings)


def test_no_request_has_to_wait_for_a_connection() -> None:
    sizes = {item.key: int(item.value) for item in FAN_OUT}
    assert sizes["sql_alchemy_pool_size"] + sizes["sql_alchemy_max_overflow"] > API_SERVER_THREADS


@pytest.mark.parametrize("folder", ["plain", "with space", "100%", "what?"])
def test_the_database_is_in_the_home_and_waits_for_its_turn(tmp_path: Path, folder: str) -> None:
    settings = local_settings(tmp_path / folder, tmp_path, 8181, 8182, tmp_path / "passwords.json")
    url = make_url(environment(settings)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert url.query == {"timeout": "60"}
    # SQLAlchemy decodes the file's name from 2.1 on; names that need no encoding are the same before.
    if folder in ("plain", "with space"):
        assert url.database == str(tmp_path.resolve() / folder / "airflow.db")


def test_everything_follows_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = environment(local_settings(Path("home"), Path("dags"), 8181, 8182, Path("home/passwords.json")))
    assert variables["AIRFLOW__API__PORT"] == "8181"
    assert variables["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:8181"
    assert variables["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8182/execution/"
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path.resolve() / "dags")
    assert variables["AIRFLOW__LOGGING__BASE_LOG_FOLDER"] == str(tmp_path.resolve() / "home" / "logs" / "tasks")
    assert variables["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] == str(
        tmp_path.resolve() / "home" / "passwords.json"
    )


def test_secrets_become_settings_and_are_not_among_the_others(tmp_path: Path) -> None:
    assert environment(secret_settings(SECRETS)) == {
        "AIRFLOW__CORE__FERNET_KEY": "value of fernet_key",
        "AIRFLOW__API_AUTH__JWT_SECRET": "value of jwt_secret",
        "AIRFLOW__API__SECRET_KEY": "value of secret_key",
    }


def test_a_later_setting_wins() -> None:
    first, second = (Setting("core", "parallelism", value, "a test") for value in ("1", "2"))
    assert environment([first, second]) == {"AIRFLOW__CORE__PARALLELISM": "2"}


def test_nobody_else_can_reach_the_local_stand() -> None:
    variables = environment(LOCAL)
    assert variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert variables["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"


def test_airflow_is_not_imported() -> None:
    code = "import sys, airflow_llm_provider.config.airflow_settings; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_exported_exists() -> None:
    assert all(hasattr(airflow_settings, name) for name in airflow_settings.__all__)
