"""What a supervisor keeps alive and how that is going, as data in two JSON files of one folder.

``plan.json`` says which programs to run and how patiently, ``state.json`` how they are doing, and ``supervisor.lock``
is held by the supervisor for as long as it lives. Whoever starts a supervisor writes the first; whoever watches reads
the second. The programs inherit the supervisor's environment, so that no file here holds a secret.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from airflow_llm_provider.cli.files import write_atomically
from airflow_llm_provider.errors import ConfigurationError

__all__ = [
    "Component",
    "ComponentState",
    "Plan",
    "Policy",
    "State",
    "alone",
    "is_supervised",
    "read_plan",
    "read_state",
    "write_plan",
    "write_state",
]

Status = Literal["starting", "running", "waiting", "stopped"]


@dataclass(frozen=True)
class Component:
    """A program to keep alive.

    Attributes:
        name: Its name in the state and of its log file.
        command: Program and arguments.
        probes: Addresses that must answer a GET with status 200, one after the other, before it counts as running.
        grace: Seconds between the request to end and the kill; None takes the policy's.
        variables: Environment variables of its own; no secrets, for the plan is a file.
    """

    name: str
    command: tuple[str, ...]
    probes: tuple[str, ...] = ()
    grace: float | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """How patient the supervisor is, all in seconds.

    Attributes:
        backoff: Wait before the first restart; doubled for each further one.
        longest_backoff: The longest wait.
        stable: A component that ran this long starts counting its failures anew.
        grace: Time between the request to end and the kill.
    """

    backoff: float = 0.5
    longest_backoff: float = 30.0
    stable: float = 60.0
    grace: float = 10.0

    def wait(self, failures: int) -> float:
        """Give the wait before the restart after that many failures in a row (from 1)."""
        return min(self.longest_backoff, self.backoff * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True)
class Plan:
    """What to keep alive.

    Attributes:
        components: The programs; their order is that of starting, and reversed that of stopping.
        folder: Where this is written, and how the programs are doing.
        policy: How patiently they are kept.
        keeps_logs: Whether each has a log file of its own in the folder; else they write where the supervisor does.
    """

    components: tuple[Component, ...]
    folder: Path
    policy: Policy = Policy()
    keeps_logs: bool = True

    @property
    def file(self) -> Path:
        """Where the plan itself is written."""
        return self.folder / "plan.json"

    def log(self, name: str) -> Path:
        """Give the log file of a component, or of the ``supervisor`` itself."""
        return self.folder / "logs" / f"{name}.log"


@dataclass
class ComponentState:
    """How a component is doing.

    Attributes:
        status: ``waiting`` means for its next start, after it ended.
        pid: Its process; None when it has none.
        restarts: How often it was started again.
        failures: How often it ended since it last ran for ``Policy.stable`` seconds.
        last_exit: Exit code of its last end, negative for a signal.
    """

    status: Status = "stopped"
    pid: int | None = None
    restarts: int = 0
    failures: int = 0
    last_exit: int | None = None


@dataclass
class State:
    """How all are doing; ``started`` is in seconds since the epoch."""

    pid: int
    started: float
    components: dict[str, ComponentState] = field(default_factory=dict)


def write_plan(plan: Plan) -> None:
    """Write the plan into its folder."""
    data = {"components": [asdict(item) for item in plan.components], "policy": asdict(plan.policy)}
    write_atomically(plan.file, json.dumps(data, indent=2))


def read_plan(folder: Path) -> Plan | None:
    """Read what :func:`write_plan` wrote; None when there is no plan."""
    data = _read(folder / "plan.json")
    if data is None:
        return None
    components = tuple(
        Component(item["name"], tuple(item["command"]), tuple(item["probes"]), item["grace"], item["variables"])
        for item in data["components"]
    )
    return Plan(components, folder, Policy(**data["policy"]))


def write_state(folder: Path, state: State) -> None:
    """Write how the components are doing.

    Raises:
        ConfigurationError: It cannot be written.
    """
    write_atomically(folder / "state.json", json.dumps(asdict(state), indent=2))


def read_state(folder: Path) -> State | None:
    """Read what :func:`write_state` wrote; None before the first start."""
    data = _read(folder / "state.json")
    if data is None:
        return None
    components = {name: ComponentState(**item) for name, item in data["components"].items()}
    return State(data["pid"], data["started"], components)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the one supervisor of a folder, which is made if need be.

    Raises:
        ConfigurationError: Another is at work on it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "supervisor.lock").open("w")
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}") from error
    with file:
        if not _lock_soon(file.fileno()):
            raise ConfigurationError(
                f"another supervisor is at work on {folder}; stop it before starting a second, or take another home"
            )
        yield


def is_supervised(folder: Path) -> bool:
    """Tell whether a supervisor is at work on the folder; unlike a process id, its lock cannot become another's."""
    with contextlib.suppress(FileNotFoundError), (folder / "supervisor.lock").open() as file:
        return not _lock(file.fileno())
    return False


def _lock(descriptor: int) -> bool:
    """Take the lock of an open file for as long as it stays open; False when another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_soon(descriptor: int) -> bool:
    # Who asks whether a supervisor is at work holds the lock for an instant.
    for _ in range(20):
        if _lock(descriptor):
            return True
        time.sleep(0.05)
    return False


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return data
    except FileNotFoundError:
        return None
