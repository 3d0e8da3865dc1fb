"""Systems that are started from an ``orchestrator.yaml``: their processes, and what they need beside Airflow.

A machine that is lost loses everything at once, so all that a process has started is found by who has started whom; and at the end
nothing may be left of what was there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI, DagRun
from airflow_llm_provider.simulator import SimulatorServer
from tests.conftest import free_port

PASSWORD = "a-password-of-the-tests"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder: each starts an Airflow of its own."""
    item.add_marker(pytest.mark.airflow)


@dataclass
class System:
    """The processes of one system.

    Attributes:
        folder: Where their logs and homes are.
        config: Their ``orchestrator.yaml``.
        variables: What their environment has besides the tests' own.
        own: What the environment of one of them has besides that, by its name.
    """

    folder: Path
    config: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    own: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _seen: set[tuple[int, str]] = field(default_factory=set)

    def environment(self, **variables: str) -> dict[str, str]:
        """Give the environment of a process."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "ORCHESTRATOR"))}
        return {**own, **self.variables, **variables}

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``llm-orchestrator`` to its end."""
        command = (sys.executable, "-m", "airflow_llm_provider.cli", *arguments)
        return subprocess.run(
            command, env=self.environment(**variables), cwd=self.folder, capture_output=True, text=True, check=False
        )

    def serve(self, mode: str, name: str = "", config: Path | None = None, **variables: str) -> str:
        """Start ``llm-orchestrator server``, from a file of its own if need be."""
        name = name or mode
        self.own[name] = variables
        command = (
            sys.executable,
            "-m",
            "airflow_llm_provider.cli",
            "server",
            "--mode",
            mode,
            "--config",
            str(config or self.config),
        )
        return self.start(name, command, **variables)

    def start(self, name: str, command: tuple[str, ...], **variables: str) -> str:
        """Start any program."""
        with self.log(name).open("ab") as output:
            process = subprocess.Popen(
                command,
                env=self.environment(**variables),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started[name] = process
        return name

    def log(self, name: str) -> Path:
        """Give the file that a process writes to."""
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        """Give what a process has written."""
        return self.log(name).read_text(encoding="utf-8", errors="replace") if self.log(name).exists() else ""

    def check(self) -> None:
        """Make sure that nothing has ended by itself."""
        for name, process in self._started.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.said(name)[-3000:]}"

    def lose(self, name: str) -> None:
        """Lose a machine: everything that the process has started ends at once, without a word."""
        process = self._started.pop(name)
        # Stopped first, so that nobody sees the others go and does something about it.
        below = self.below(process.pid)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid, _ in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        process.wait(10)

    def stop(self, name: str, timeout: float = 60) -> int:
        """Ask a process to end, and give its exit code."""
        process = self._started.pop(name)
        self.below(process.pid)
        process.terminate()
        return process.wait(timeout)

    def stop_all(self) -> dict[str, int]:
        """Stop all processes, the last first, and give how each has ended."""
        return {name: self.stop(name) for name in reversed([*self._started])}

    def left(self) -> list[str]:
        """Give the commands of the processes that are still there."""
        return [command(pid) for pid, started in self._seen if process_table().get(pid, (0, ""))[1] == started]

    def below(self, pid: int) -> set[tuple[int, str]]:
        """Give a process and all that it has started, directly or not: ids, and when they began."""
        table = process_table()
        children = defaultdict(list)
        for child, (parent, _) in table.items():
            children[parent].append(child)
        found, waiting = set(), [pid]
        while waiting:
            one = waiting.pop()
            if one in table:
                found.add((one, table[one][1]))
                waiting += children[one]
        self._seen |= found
        return found

    def find(self, name: str, ending: str) -> int:
        """Give the one process below one of ours whose command ends so."""
        [found] = [pid for pid, _ in self.below(self._started[name].pid) if command(pid).endswith(ending)]
        return found

    def end(self) -> None:
        """Leave nothing behind, however the test has ended."""
        for name in [*self._started]:
            self.lose(name)


def process_table() -> dict[int, tuple[int, str]]:
    """Give all processes but the dead: id to the parent's id and when it began."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, *rest = stat.read_text(errors="replace").rpartition(")")[2].split()
            if state != "Z":
                found[int(stat.parent.name)] = (int(parent), rest[17])
    return found


def command(pid: int) -> str:
    """Give the command of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def until(condition: Callable[[], Any], system: System, what: str, timeout: float = 180) -> Any:
    """Wait until something is there; all processes have to stay alive meanwhile."""
    deadline = time.monotonic() + timeout
    while not (value := _attempt(condition)):
        system.check()
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.3)
    return value


def _attempt(condition: Callable[[], Any]) -> Any:
    try:
        return condition()
    except httpx.HTTPError:
        return None


def is_healthy(url: str, *parts: str) -> bool:
    """Tell whether an API server sees the parts of its system at work."""
    answer = httpx.get(f"{url}/api/v2/monitor/health", timeout=5, verify=False)
    return answer.status_code == 200 and all(answer.json()[part]["status"] == "healthy" for part in parts)


def run(api: AirflowAPI, dag_id: str, system: System, timeout: float = 120) -> DagRun:
    """Run a workflow to its end."""

    def found() -> bool:
        dag = api.dag(dag_id)
        return dag is not None and not dag["is_stale"]

    try:
        until(found, system, f"the workflow {dag_id} is read", 60)
    except AssertionError as error:
        raise AssertionError(f"{error}; import errors: {api.import_errors()}") from None
    api.unpause(dag_id)
    return api.wait(api.trigger(dag_id, {}), timeout)


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    """Start a simulator of the providers."""
    with SimulatorServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Start an S3 with the buckets ``logs``, ``results`` and ``checkpoints``."""
    server = pytest.importorskip("moto.server", reason="stands for object storage").ThreadedMotoServer(
        "127.0.0.1", free_port(), verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s", region_name="eu-west-1"
    )
    for bucket in ("logs", "results", "checkpoints"):
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield url
    server.stop()


@contextlib.contextmanager
def simulated(folder: Path, simulator: SimulatorServer) -> Iterator[System]:
    """Give a system without processes and with an empty file; its models are simulated."""
    config = folder / "orchestrator.yaml"
    config.write_text("")
    made = System(
        folder,
        config,
        {
            "OPENAI_BASE_URL": simulator.openai_base_url,
            "OPENAI_API_KEY": "simulated",
            "ANTHROPIC_BASE_URL": simulator.anthropic_base_url,
            "ANTHROPIC_API_KEY": "simulated",
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "NO_PROXY": "127.0.0.1,localhost",
        },
    )
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def system(tmp_path: Path, simulator: SimulatorServer, database: str, redis_url: str, s3_url: str) -> Iterator[System]:
    """Give a system that ends before the servers that it may use."""
    with simulated(tmp_path, simulator) as made:
        yield made
