"""``systemd/install.sh`` on an empty machine: installed with an older Airflow, upgraded to ours, and rolled back."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI, AirflowAPIError
from tests.conftest import REPOSITORY, free_port
from tests.containers.conftest import WORKFLOW
from tests.containers.engine import HERE, docker

SETTINGS = "home: /var/lib/llm-orchestrator\nserver: {host: 0.0.0.0}\n"
VARIABLES = "OPENAI_API_KEY=simulated\nOPENAI_BASE_URL=http://127.0.0.1:8900/v1\n"

# Airflow 3.2 with what it was made for: its execution API does not start with later ones.
OLDER = "apache-airflow==3.2.*\ncadwyn<7.2\nfastapi<0.138\npydantic<2.14\nstarlette<1.4\n"

START = """
cd /var/lib/llm-orchestrator; set -a; . /etc/llm-orchestrator/environment
setsid runuser --user orchestrator --preserve-environment -- env HOME=/var/lib/llm-orchestrator \
    /opt/llm-orchestrator/bin/llm-orchestrator server --config /etc/llm-orchestrator/config.yaml > /var/log/server.log 2>&1 &
echo $! > /run/server.pid
"""
STOP = (
    "kill -TERM -- -$(cat /run/server.pid); while kill -0 -- -$(cat /run/server.pid) 2> /dev/null; do sleep 0.2; done"
)


class Machine:
    """A container that stands for a machine.

    Args:
        container: Its id.
        url: Where its server is reached.
    """

    def __init__(self, container: str, url: str) -> None:
        self._container = container
        self._url = url

    def do(self, command: str) -> str:
        """Run a command of the shell as root, and give what it says."""
        return docker("exec", self._container, "bash", "-euc", command)

    def runs_of_chain(self, count: int) -> None:
        """Start the server, run the workflow once more, see that all runs are there, and stop the server."""
        self.do(START)
        deadline = time.monotonic() + 180
        while "ready: " not in self.do("cat /var/log/server.log"):
            assert time.monotonic() < deadline, self.do("tail -50 /var/log/server.log")
            time.sleep(1)
        password = json.loads(self.do("cat /var/lib/llm-orchestrator/passwords.json"))["admin"]
        with contextlib.closing(AirflowAPI(self._url, "admin", password)) as api:
            while not _there(api):
                assert time.monotonic() < deadline, api.import_errors()
                time.sleep(1)
            api.unpause("chain")
            assert api.wait(api.trigger("chain", {}), 180).state == "success"
            runs = api.request("GET", "/dags/chain/dagRuns")["dag_runs"]
        assert [run["state"] for run in runs] == ["success"] * count
        self.do(STOP)


def _there(api: AirflowAPI) -> bool:
    try:
        return api.dag("chain") is not None
    except AirflowAPIError:
        return False


@pytest.fixture
def machine(made_images: dict[str, str], tmp_path: Path) -> Iterator[Machine]:
    """Give a machine with what ``install.sh`` needs, the files of this project in ``/source``, and simulated models."""
    base = f"BASE_IMAGE={made_images['BASE_IMAGE']}"
    recipe = ("--file", str(HERE / "stand-ins.Dockerfile"), "--target", "machine")
    docker("build", "--build-arg", base, *recipe, "--tag", "machine:stand-in", str(HERE))
    older = tmp_path / "older.txt"
    command = [sys.executable, "-m", "uv", "pip", "compile", str(REPOSITORY / "pyproject.toml"), "--extra", "server"]
    options = ["--quiet", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    only = ["--constraints", "-", "--python-version", "3.11", "--output-file", str(older)]
    subprocess.run([*command, *options, *only], input=OLDER, text=True, check=True)
    port = free_port()
    mounts = [f"{REPOSITORY}:/source:ro", f"{older}:/older.txt:ro"]
    container = docker(
        *("run", "--detach", "--init", "--publish", f"127.0.0.1:{port}:8080"),
        *(part for mount in mounts for part in ("--volume", mount)),
        "machine:stand-in",
    )
    try:
        yield Machine(container, f"http://127.0.0.1:{port}")
    finally:
        docker("rm", "--force", container)


def test_install_upgrade_and_roll_back(machine: Machine) -> None:
    machine.do("cp -r /source/. /tmp/source")
    machine.do(f"printf '%s' '{SETTINGS}' > /tmp/settings.yaml; printf '%s' '{VARIABLES}' > /tmp/environment")
    install = "/source/systemd/install.sh --package '/tmp/source[server]'"
    refused = "--package /nowhere 2>&1 && exit 1 || test $? -eq 1"
    assert "nothing was changed" in machine.do(
        f"/source/systemd/install.sh {refused}; ls /opt/llm-orchestrator-releases"
    )

    machine.do(f"{install} --constraints /older.txt --config /tmp/settings.yaml --environment /tmp/environment")
    machine.do(f"printf '%s' '{WORKFLOW}' > /var/lib/llm-orchestrator/dags/chain.yaml")
    machine.do("setsid /opt/llm-orchestrator/bin/llm-orchestrator simulator > /dev/null 2>&1 &")
    modes = machine.do("stat -c '%U:%G %a' /etc/llm-orchestrator/config.yaml /etc/llm-orchestrator/environment").split(
        "\n"
    )
    assert modes == ["root:orchestrator 640", "root:root 600"]
    assert machine.do("/opt/llm-orchestrator/bin/python -c 'import airflow; print(airflow.__version__)'").startswith(
        "3.2."
    )
    machine.runs_of_chain(1)

    machine.do(install)
    assert machine.do("/opt/llm-orchestrator/bin/python -c 'import airflow; print(airflow.__version__)'").startswith(
        "3.3."
    )
    machine.runs_of_chain(2)

    machine.do("/source/systemd/install.sh --rollback")
    assert machine.do("/opt/llm-orchestrator/bin/python -c 'import airflow; print(airflow.__version__)'").startswith(
        "3.2."
    )
    # The run of the newer version is in the home that was moved away.
    machine.runs_of_chain(2)
    machine.do("test -e /etc/systemd/system/llm-orchestrator.service && test -e /etc/tmpfiles.d/llm-orchestrator.conf")
    assert "there was no upgrade" in machine.do("/source/systemd/install.sh --rollback 2>&1 || true")
