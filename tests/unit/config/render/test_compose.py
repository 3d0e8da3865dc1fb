"""The compose files, as docker-compose reads them, and the files of their containers, as ``config check`` does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_llm_provider import __version__
from airflow_llm_provider.cli import main
from tests.conftest import REPOSITORY

SECRETS = {
    **dict.fromkeys(("POSTGRES_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "ADMIN_PASSWORD"), "s" * 64),
    "FERNET_KEY": "c" * 43 + "=",
    "CENTRE_URL": "https://orchestrator.example.com",
}
COMPONENT = {"single-node": "orchestrator", "distributed": "api1", "edge": "worker"}
"""Folder to a service that reads the file."""


def read(folder: str, tmp_path: Path) -> dict[str, Any]:
    """Have docker-compose read the file, with an ``.env`` that is made as the example says."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed, and nothing else reads compose files")
    path = REPOSITORY / "docker" / folder
    example = (path / ".env.example").read_text(encoding="utf-8")
    (tmp_path / ".env").write_text(
        re.sub(r"^(\w+)=$", lambda it: f"{it[1]}={SECRETS.get(it[1], '')}", example, flags=re.M)
    )
    command = [program, "--env-file", str(tmp_path / ".env"), "--file", str(path / "docker-compose.yaml"), "config"]
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return services


@pytest.mark.parametrize("folder", COMPONENT)
def test_what_a_container_reads_is_right(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service = read(folder, tmp_path)[COMPONENT[folder]]
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, value)
    if "--mode" in service["command"]:
        monkeypatch.setenv("ORCHESTRATOR_MODE", service["command"][-1])
    assert main(["config", "check", "--strict", str(REPOSITORY / "docker" / folder / "orchestrator.yaml")]) == 0
    assert "nothing is wrong with it" in capsys.readouterr().out


@pytest.mark.parametrize("folder", COMPONENT)
def test_containers_are_hardened(folder: str, tmp_path: Path) -> None:
    services = read(folder, tmp_path)
    for name, service in services.items():
        if name not in ("db", "redis"):
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
        if "llm-orchestrator" in service["image"]:
            assert service["image"].partition(":")[2].removesuffix("-edge") == __version__


@pytest.mark.parametrize("folder", ["single-node", "distributed"])
def test_a_database_that_is_being_made_is_not_ready(folder: str, tmp_path: Path) -> None:
    check = read(folder, tmp_path)["db"]["healthcheck"]
    # The official image makes it with a server that listens on its local socket only.
    assert check["test"][1:4] == ["pg_isready", "--host", "127.0.0.1"]
    assert check["start_period"]
