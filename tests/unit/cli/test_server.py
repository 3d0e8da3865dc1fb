"""``llm-orchestrator server``, where it cannot start."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

from airflow_llm_provider.cli import main
from airflow_llm_provider.cli.supervision import alone
from tests.conftest import free_port

LOADERS = files("dag_factory") / "loaders"


@dataclass(frozen=True)
class Case:
    """A server that cannot start.

    Attributes:
        name: What is wrong.
        text: What its file says besides the ports; ``{folder}`` is the test's, which holds a file ``file``.
        expected: What is said.
        mode: Its mode.
    """

    name: str
    text: str
    expected: str
    mode: str = "standalone"


CASES = (
    Case(
        "the certificate cannot be read",
        "home: {folder}/home\nserver: {{tls: {{enabled: true, cert_file: {folder}/none, key_file: {folder}/file}}}}",
        "{folder}/none cannot be read, but server.tls is enabled; name the right file",
    ),
    Case(
        "the home cannot be made",
        "home: {folder}/file/home",
        "the home {folder}/file/home cannot be made (Not a directory): write another 'home', or let it be made",
    ),
    Case(
        "the dags folder cannot be made",
        "home: {folder}/home\nworkflows: {{folder: {folder}/file/dags}}\n"
        "execution: {{queue: {{url: redis://127.0.0.1/0}}}}\n"
        "security: {{authentication: {{jwt_secret: {secret}}}}}\n"
        "server: {{execution_url: http://elsewhere}}",
        "the dags folder {folder}/file/dags lacks load_workflows.py and workflow_errors.py, and cannot be written "
        f"([Errno 20] Not a directory: '{{folder}}/file/dags'); copy them there from {LOADERS}",
        "worker",
    ),
    Case(
        "the output cannot be written",
        "home: {folder}/home\nworkflows: {{folder: {folder}/dags}}\n"
        "execution: {{queue: {{url: redis://127.0.0.1/0}}}}\n"
        "security: {{authentication: {{jwt_secret: {secret}}}}}\n"
        "server: {{execution_url: http://elsewhere}}\n"
        "observability: {{logging: {{output: {folder}/file/below/log}}}}",
        "{folder}/file/below/log cannot be written (Not a directory); write another observability.logging.output",
        "worker",
    ),
    Case(
        "there is no database, and none may be made",
        "home: {folder}/home\ndatabase: {{migrations: {{auto_run: false}}}}",
        "database.migrations.auto_run is false, and the database is not there yet; run: llm-orchestrator db init",
    ),
    Case(
        "the database is away, and may not be changed",
        "home: {folder}/home\n"
        "database: {{url: 'postgresql://u:hunter-2@127.0.0.1:{free}/d', migrations: {{auto_run: false}}}}",
        "database.migrations.auto_run is false, and the database cannot be reached (",
    ),
)


@dataclass(frozen=True)
class Server:
    """A server that is started in this process."""

    folder: Path
    said: Callable[[], str]

    def start(self, mode: str, text: str) -> str:
        """Start it, and give why it does not."""
        config = self.folder / "orchestrator.yaml"
        config.write_text(text)
        assert main(["server", "--mode", mode, "--config", str(config)]) == 2
        return self.said()


@pytest.fixture
def server(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("ORCHESTRATOR__SERVER__PORT__HTTP", str(free_port()))
    monkeypatch.setenv("ORCHESTRATOR__SERVER__PORT__EXECUTION", str(free_port()))
    (tmp_path / "file").touch()
    return Server(tmp_path, lambda: capsys.readouterr().err)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_says_why_it_does_not_start(server: Server, case: Case) -> None:
    text = case.text.format(folder=server.folder, free=free_port(), secret="s" * 64)
    said = server.start(case.mode, text)
    assert case.expected.format(folder=server.folder) in said
    assert "hunter" not in said


@pytest.mark.parametrize(("key", "variable"), [("server.port.http", "HTTP"), ("server.port.execution", "EXECUTION")])
def test_a_port_that_another_program_has(
    server: Server, monkeypatch: pytest.MonkeyPatch, key: str, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv(f"ORCHESTRATOR__SERVER__PORT__{variable}", str(port))
        said = server.start("standalone", f"home: {server.folder}/home")
    assert (
        f"nothing can listen on port {port} of 127.0.0.1 (Address already in use): "
        f"end the program that has it, or write another {key}"
    ) in said


def test_what_another_server_works_with_is_left_alone(server: Server) -> None:
    home = server.folder / "home"
    with alone(home):
        said = server.start("standalone", f"home: {home}\ndatabase: {{url: 'sqlite:///{server.folder}/other.db'}}")
    assert f"another supervisor is at work on {home}; stop it before starting a second, or take another home" in said
    assert [path.name for path in home.iterdir()] == ["supervisor.lock"]
    assert not (server.folder / "other.db").exists()


def test_the_mode_of_the_command_line_wins(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_MODE", "scheduler")
    monkeypatch.setenv("ORCHESTRATOR__SERVER__MODE", "triggerer")
    assert "the mode edge-worker needs 'edge.api_url'" in server.start("edge-worker", f"home: {server.folder}/home")


@pytest.mark.skipif(sys.platform != "linux", reason="::1 is there")
def test_an_address_of_six_is_written_in_brackets(server: Server) -> None:
    from airflow_llm_provider.config.server import Server as Section

    assert Section(host="::1").address(8080) == "http://[::1]:8080"
