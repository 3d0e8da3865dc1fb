"""An Airflow of one's own in one folder: starts it supervised, waits until all of it works, stops it.

The supervisor is a process of its own that outlives whoever started it; a stand that is up is found again by its
folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from airflow_llm_provider.cli.airflow_api import AirflowAPI
from airflow_llm_provider.cli.components import LOOPBACK, components
from airflow_llm_provider.cli.database import migrate
from airflow_llm_provider.cli.files import write_atomically
from airflow_llm_provider.cli.home import USER, Home, Place
from airflow_llm_provider.cli.supervision import Component, Plan, State, is_supervised, read_state, write_plan
from airflow_llm_provider.errors import ConfigurationError, LLMProviderError

__all__ = ["Stand", "StandError"]

Say = Callable[[str], None]

_HOPELESS = 3
"""A component that ended this often in a row is waited for no longer."""

# With -m the module would be there twice, as itself and as __main__, and Python warns of that.
_SUPERVISE = "import sys; from airflow_llm_provider.cli.supervisor import main; sys.exit(main())"


_OURS: dict[int, subprocess.Popen[bytes]] = {}
"""The supervisors that this process started, by process id: they outlive it, or are waited for when it stops them."""


class StandError(LLMProviderError):
    """The local Airflow cannot be started, or does not stay up."""


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Stand:
    """The Airflow of one folder, running or not.

    Attributes:
        home: The folder.
        dags_folder: Where the workflows are.
        port: Port that the API server must have; None takes the last one, else 8080, else any that is free.
        variables: Further environment variables for components and tasks.
    """

    home: Home
    dags_folder: Path
    port: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Where it listens, or listened last."""
        return self.home.place()

    def is_up(self) -> bool:
        """Tell whether a supervisor is at work; the components may still be starting."""
        return is_supervised(self.home.path)

    @property
    def state(self) -> State | None:
        """How the components are doing, or did when they were last up."""
        return read_state(self.home.path)

    def api(self) -> AirflowAPI:
        """Make a client that logs in as the one user."""
        return AirflowAPI(self.place.url, USER, self.home.password())

    def start(self, say: Say = _silent) -> bool:
        """Start it unless it is up already; the components may still be starting when this returns.

        Args:
            say: Called with what is being done.

        Returns:
            Whether this call started it.

        Raises:
            ConfigurationError: There is no dags folder, the port is in use, the database cannot be made, or the stand that is
                up is a different one.
            StandError: The supervisor does not start.
        """
        if not self.dags_folder.is_dir():
            raise ConfigurationError(f"there is no dags folder {self.dags_folder}: name the right one")
        self.home.make()
        with self._alone():
            if self.is_up():
                self._check_same()
                return False
            self.home.choose_place(self.dags_folder, self.port)
            self.home.make_secrets()
            self.home.write_variables(self.variables)
            self._migrate(say)
            say("starting Airflow")
            self._launch()
        return True

    def wait_until_ready(self, say: Say = _silent, timeout: float = 300) -> None:
        """Wait until every component works.

        Args:
            say: Called with what is still awaited.
            timeout: Longest wait in seconds.

        Raises:
            StandError: A component keeps ending, or the time is over.
        """
        deadline = time.monotonic() + timeout
        with contextlib.closing(self.api()) as api:
            while awaited := self._awaited(api):
                say(f"waiting for {', '.join(awaited)}")
                if time.monotonic() > deadline:
                    logs = ", ".join(str(self.home.log(name)) for name in awaited)
                    raise StandError(f"not ready after {timeout:g} s: {', '.join(awaited)}; see {logs}")
                time.sleep(0.25)

    def check_alive(self) -> None:
        """Make sure that the supervisor is there and nothing keeps ending.

        Raises:
            StandError: It is not so; with the end of the log that tells why.
        """
        state = self.state
        if state is None or not self.is_up():
            raise StandError(f"Airflow was stopped; {_tail(self.home.log('supervisor'))}")
        for name, component in state.components.items():
            if component.failures >= _HOPELESS:
                raise StandError(f"{name} keeps ending (exit code {component.last_exit}); {_tail(self.home.log(name))}")

    def stop(self, timeout: float = 120) -> bool:
        """Stop all components and the supervisor.

        Args:
            timeout: Longest wait in seconds; after it the supervisor is killed, which makes the components end too.

        Returns:
            Whether there was anything to stop.
        """
        state = self.state
        if state is None or not self.is_up():
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, number)
            deadline = time.monotonic() + timeout
            while self.is_up() and time.monotonic() < deadline:
                time.sleep(0.1)
            if not self.is_up():
                break
        if state.pid in _OURS:
            _OURS.pop(state.pid).wait()
        return True

    def _awaited(self, api: AirflowAPI) -> list[str]:
        self.check_alive()
        state = self.state
        if state is None:
            return ["supervisor"]
        if starting := [name for name, item in state.components.items() if item.status != "running"]:
            return starting
        health = api.health()
        return ["api-server"] if health is None else [name.replace("_", "-") for name in health.missing(state.started)]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # Two starts at once would both find nothing running.
        with (self.home.path / "start.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _check_same(self) -> None:
        place, where = self.place, self.home.path
        if place.dags_folder != str(self.dags_folder.resolve()):
            raise ConfigurationError(
                f"the Airflow in {where} serves {place.dags_folder}: stop it first, or take another home"
            )
        if self.port not in (None, place.port):
            raise ConfigurationError(f"the Airflow in {where} has port {place.port}, not {self.port}: stop it first")

    def _migrate(self, say: Say) -> None:
        stamp, wanted = self.home.path / "migrated", version("apache-airflow-core")
        done = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
        if done == wanted and self.home.database.exists():
            return
        say("bringing the database up to date" if done else "making the database, once")
        migrate(self.home.environment(self.variables))
        write_atomically(stamp, wanted)

    def _launch(self) -> None:
        write_plan(Plan((_simulator(self.place), *components(self.home.configuration())), self.home.path))
        supervisor = self._run("supervisor", sys.executable, "-c", _SUPERVISE, str(self.home.path))
        while (state := self.state) is None or state.pid != supervisor.pid:
            if supervisor.poll() is not None:
                raise StandError(f"the supervisor ended at once; {_tail(self.home.log('supervisor'))}")
            time.sleep(0.05)
        _OURS[supervisor.pid] = supervisor

    def _run(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        log = self.home.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                env=self.home.environment(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _simulator(place: Place) -> Component:
    answers = resources.files("airflow_llm_provider.simulator") / "example_answers.yaml"
    options = ("simulator", "--host", LOOPBACK, "--port", str(place.simulator_port), "--rules", str(answers))
    command = (sys.executable, "-m", "airflow_llm_provider.cli", *options)
    return Component("simulator", command, (f"{place.simulator_url}/health",))


def _tail(log: Path, lines: int = 25) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return f"it wrote no log {log}"
    return "\n".join((f"the end of {log}:", *text.splitlines()[-lines:]))
