"""The folder of a local Airflow: ports, secrets, environment."""

from __future__ import annotations

import os
import shlex
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from airflow_llm_provider.cli import home as module
from airflow_llm_provider.cli.home import USER, Home
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.security import Authentication, Security
from airflow_llm_provider.config.server import Server
from airflow_llm_provider.errors import ConfigurationError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A folder in which a place and secrets have been made."""
    made = Home(tmp_path / "home of mine")
    made.path.mkdir()
    made.choose_place(tmp_path / "dags", None)
    made.make_secrets()
    return made


def test_ports_are_free_and_differ_and_are_kept(home: Home, tmp_path: Path) -> None:
    first = home.place()
    assert first.port != first.simulator_port
    assert home.choose_place(tmp_path / "dags", None) == first


def test_a_port_that_was_taken_meanwhile_is_replaced(home: Home, tmp_path: Path) -> None:
    before = home.place()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before.port))
        other.listen()
        after = home.choose_place(tmp_path / "dags", None)
    assert after.port != before.port
    assert after.simulator_port == before.simulator_port


def test_a_port_that_was_asked_for_is_not_replaced(home: Home, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} is in use by another program"):
            home.choose_place(tmp_path / "dags", port)


def test_a_folder_without_a_place_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no Airflow was started in"):
        Home(tmp_path).place()


def test_secrets_are_made_once_and_are_private(home: Home) -> None:
    password, environment = home.password(), home.environment({})
    home.make_secrets()
    home.write_variables({})

    assert home.password() == password
    assert home.environment({}) == environment
    assert len(password) >= 16
    for file in (home.passwords_file, home.path / "secrets.json", home.variables_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_of_several_that_make_secrets_at_once_one_wins(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from airflow_llm_provider.cli.home import Home\n"
        "from airflow_llm_provider.config.configuration import Configuration\n"
        "configuration = Home(pathlib.Path(sys.argv[1])).prepare(Configuration())\n"
        "print(configuration.security.fernet_key.get_secret_value())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert len(set(said)) == 1
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["passwords.json", "secrets.json"]


def test_what_is_only_read_makes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(ConfigurationError, match=r"there are no keys in .* yet; run: llm-orchestrator db init"):
        home.with_keys(Configuration())
    assert not home.path.exists()
    made = home.prepare(Configuration())
    assert home.with_keys(Configuration()) == made


def test_a_password_of_the_file_is_written_when_it_is_another(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    def prepare(password: str) -> int:
        authentication = Authentication(admin_password=SecretStr(password))
        home.prepare(Configuration(security=Security(authentication=authentication)))
        return home.passwords_file.stat().st_ino

    first = prepare("one")
    assert prepare("one") == first
    assert prepare("two") != first
    assert home.password() == "two"


@pytest.mark.skipif(os.geteuid() != 0, reason="root only writes for others")
def test_what_root_makes_belongs_to_the_owner_of_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    os.chown(home.path, 1234, 1234)
    home.prepare(Configuration())
    assert {path.stat().st_uid for path in home.path.iterdir()} == {1234}


def test_a_machine_without_servers_has_no_password(tmp_path: Path) -> None:
    authentication = Authentication(jwt_secret=SecretStr("s" * 64))
    worker = Configuration(server=Server(mode="worker"), security=Security(authentication=authentication))
    prepared = Home(tmp_path / "home").prepare(worker)
    assert prepared.security.fernet_key is not None
    assert [*(tmp_path / "home").iterdir()] == []


def test_keys_differ_and_the_fernet_key_is_one(home: Home) -> None:
    from cryptography.fernet import Fernet

    environment = home.environment({})
    keys = [environment[f"AIRFLOW__{name}"] for name in ("CORE__FERNET_KEY", "API_AUTH__JWT_SECRET", "API__SECRET_KEY")]
    assert len(set(keys)) == 3
    assert Fernet(keys[0]).decrypt(Fernet(keys[0]).encrypt(b"text")) == b"text"


def test_the_callers_airflow_does_not_reach_the_stand(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", "redis://elsewhere")
    monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", "openai://elsewhere")
    environment = home.environment({})
    assert environment["AIRFLOW_HOME"] == str(home.path.resolve())
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not {"AIRFLOW__CELERY__BROKER_URL", "AIRFLOW_CONN_OPENAI_DEFAULT"} & set(environment)


def test_models_are_simulated_and_loopback_needs_no_proxy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a real key")
    monkeypatch.setenv("NO_PROXY", "intranet")
    environment, place = home.environment({"FURTHER": "one"}), home.place()
    assert environment["OPENAI_BASE_URL"] == f"{place.simulator_url}/v1"
    assert environment["ANTHROPIC_BASE_URL"] == place.simulator_url
    assert environment["OPENAI_API_KEY"] == environment["ANTHROPIC_API_KEY"] == "simulator"
    assert environment["NO_PROXY"] == environment["no_proxy"] == "intranet,127.0.0.1,localhost"
    assert environment["FURTHER"] == "one"


def test_a_shell_can_take_the_environment(home: Home) -> None:
    home.write_variables({"SPECIAL": "it's $HOME"})
    command = f'. {shlex.quote(str(home.variables_file))}; printf %s "$AIRFLOW_HOME|$SPECIAL"'
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert said == f"{home.path.resolve()}|it's $HOME"


def test_the_password_belongs_to_the_user_of_the_settings(home: Home) -> None:
    assert home.environment({})["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == f"{USER}:admin"


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
