"""The supervisor, with small Python programs for components."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from airflow_llm_provider.cli import supervision, supervisor
from airflow_llm_provider.cli.supervision import (
    Component,
    ComponentState,
    Plan,
    Policy,
    State,
    is_supervised,
    read_plan,
    read_state,
    write_plan,
    write_state,
)
from airflow_llm_provider.simulator import SimulatorServer

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel hands over orphans on Linux only")

T = TypeVar("T")

QUICK = Policy(backoff=0.05, grace=10)

IDLE = "import time; time.sleep(600)"
ENDS_AT_ONCE = "import sys; print('what went wrong'); sys.exit(7)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
# Appends its name to a file when it is asked to end.
SIGNS_OFF = """
import pathlib, signal, sys, time
def sign_off(number, frame):
    with open({file!r}, "a") as file:
        file.write({name!r} + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, sign_off)
print("ready", flush=True)
time.sleep(600)
"""
# Has a helper in a session of its own, as Airflow's tasks have.
HAS_HELPER = """
import pathlib, subprocess, sys, time
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path({file!r}).write_text(str(helper.pid))
time.sleep(600)
"""
# Its helpers are orphans at once: one that ends, and one that stays.
LEAVES_ORPHANS = """
import subprocess, sys, time
for code in ("", "import time; time.sleep(600)"):
    subprocess.run([sys.executable, "-c", "import subprocess, sys; subprocess.Popen([sys.executable, '-c', " + repr(code) + "])"])
print("ready", flush=True)
time.sleep(600)
"""
SERVES_ONCE_ALLOWED = """
import http.server, pathlib, time
while not pathlib.Path({file!r}).exists():
    time.sleep(0.01)
http.server.HTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Wait until the condition is true, and give its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return value


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform == "linux":
        with contextlib.suppress(FileNotFoundError):
            # A process that has ended but was not waited for answers signals too.
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False
    return True


def children(parent: int) -> set[int]:
    """Give the children of a process, also the dead that nobody has buried."""
    return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


def python(name: str, code: str, **options: object) -> Component:
    return Component(name, (sys.executable, "-c", code), **options)  # type: ignore[arg-type]


@dataclass
class Supervised:
    """A supervisor at work, as a process of its own."""

    folder: Path
    process: subprocess.Popen[str]

    def component(self, name: str) -> ComponentState:
        state = read_state(self.folder)
        assert state is not None
        return state.components[name]

    def until_running(self, *names: str) -> None:
        def running() -> bool:
            state = read_state(self.folder)
            return state is not None and all(state.components[name].status == "running" for name in names)

        until(running, f"{names} running")

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> tuple[int, str]:
        """Ask it to end; gives its exit code and what it said."""
        self.process.terminate()
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """Start a supervisor of the given components."""
    started: list[Supervised] = []

    def start(*components: Component, policy: Policy = QUICK) -> Supervised:
        write_plan(Plan(components, tmp_path, policy))
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow_llm_provider.cli.supervisor", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        it = Supervised(tmp_path, process)
        started.append(it)
        until(lambda: (state := read_state(tmp_path)) and state.pid == process.pid, "the supervisor to begin")
        return it

    yield start
    for it in started:
        if it.process.poll() is None:
            it.stop()
        if it.process.stdout:
            it.process.stdout.close()


def test_a_component_that_was_killed_is_started_again(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("worker", IDLE))
    it.until_running("worker")
    first = it.component("worker").pid
    assert first is not None

    os.kill(first, signal.SIGKILL)

    until(lambda: it.component("worker").restarts == 1 and it.component("worker").status == "running", "restart")
    again = it.component("worker")
    assert again.pid not in (None, first)
    assert (again.failures, again.last_exit) == (1, -signal.SIGKILL)
    code, said = it.stop()
    assert code == 0
    assert "worker ended with signal SIGKILL; it starts again in 0.05 s" in said


def test_a_component_that_keeps_ending_waits_longer_each_time(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("worker", ENDS_AT_ONCE), policy=Policy(backoff=0.02, longest_backoff=0.1))
    until(lambda: it.component("worker").failures >= 4, "four failures")

    assert it.component("worker").last_exit == 7
    assert it.log("worker").count("what went wrong") >= 4
    _, said = it.stop()
    waits = [line.split(" again in ")[1].split(" s;")[0] for line in said.splitlines() if " again in " in line]
    assert waits[:4] == ["0.02", "0.04", "0.08", "0.1"]


def test_a_component_that_ran_long_enough_counts_anew(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("worker", ENDS_AT_ONCE), policy=Policy(backoff=0.01, stable=0))
    until(lambda: it.component("worker").restarts >= 3, "three restarts")
    assert it.component("worker").failures == 1


@pytest.mark.parametrize(("failures", "wait"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (10_000, 30.0)])
def test_the_wait_doubles_up_to_the_longest(failures: int, wait: float) -> None:
    assert Policy().wait(failures) == wait


def test_components_end_in_reverse_order(supervised: Callable[..., Supervised], tmp_path: Path) -> None:
    names, file = ("first", "second", "third"), tmp_path / "order"
    it = supervised(*(python(name, SIGNS_OFF.format(file=str(file), name=name)) for name in names))
    for name in names:
        until(lambda name=name: "ready" in it.log(name), f"{name} to be ready")  # type: ignore[misc]

    assert it.stop()[0] == 0

    assert file.read_text().split() == ["third", "second", "first"]
    assert {it.component(name).status for name in names} == {"stopped"}


def test_a_component_that_does_not_listen_is_killed(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("deaf", DEAF, grace=0.2))
    until(lambda: "deaf" in it.log("deaf"), "the component to close its ears")
    pid = it.component("deaf").pid
    assert pid is not None

    code, said = it.stop()

    assert code == 0
    assert "deaf did not end by itself and is killed" in said
    assert not alive(pid)


def test_a_second_signal_cuts_the_grace_short(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("deaf", DEAF, grace=600))
    until(lambda: "deaf" in it.log("deaf"), "the component to close its ears")
    assert it.process.stdout is not None

    it.process.terminate()
    assert "stopping" in it.process.stdout.readline()
    it.process.terminate()

    assert it.process.wait(timeout=30) == 0


@on_linux
@pytest.mark.parametrize("way", ["component killed", "supervisor stopped"])
def test_helpers_in_sessions_of_their_own_do_not_outlive_their_component(
    supervised: Callable[..., Supervised], tmp_path: Path, way: str
) -> None:
    file = tmp_path / "helper"
    it = supervised(python("worker", HAS_HELPER.format(file=str(file))))
    helper = int(until(lambda: file.exists() and file.read_text(), "a helper"))
    assert alive(helper)

    if way == "component killed":
        pid = it.component("worker").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    else:
        it.stop()

    until(lambda: not alive(helper), "the helper to be gone")


@on_linux
def test_orphans_are_buried_and_live_as_long_as_their_own_component(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("worker", LEAVES_ORPHANS), python("other", IDLE))
    until(lambda: "ready" in it.log("worker"), "the orphans")
    it.until_running("other")
    until(lambda: len(children(it.process.pid)) == 3, "the dead to be buried")
    worker, other = it.component("worker").pid, it.component("other").pid
    [orphan] = children(it.process.pid) - {worker, other}
    assert worker is not None
    assert other is not None

    os.kill(other, signal.SIGKILL)
    until(lambda: it.component("other").restarts == 1, "the restart")
    assert alive(orphan)

    os.kill(worker, signal.SIGKILL)
    until(lambda: not alive(orphan), "the orphan to be gone")


@on_linux
def test_a_hangup_that_is_ignored_stays_so(supervised: Callable[..., Supervised]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        it = supervised(python("worker", IDLE))
    finally:
        signal.signal(signal.SIGHUP, before)
    it.until_running("worker")
    ignored = int(Path(f"/proc/{it.process.pid}/status").read_text().partition("SigIgn:\t")[2].split()[0], 16)
    assert ignored & 1 << signal.SIGHUP - 1


@on_linux
def test_components_do_not_outlive_a_killed_supervisor(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("worker", IDLE))
    it.until_running("worker")
    pid = it.component("worker").pid
    assert pid is not None

    it.process.kill()
    it.process.wait()

    until(lambda: not alive(pid), "the component to be gone")
    assert not is_supervised(it.folder)


def test_a_component_runs_once_its_probes_answer(supervised: Callable[..., Supervised], tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    allowed = tmp_path / "allowed"
    code = SERVES_ONCE_ALLOWED.format(file=str(allowed), port=port)
    it = supervised(
        python("server", code, probes=(f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/?two")),
        python("missing", IDLE, probes=(f"http://127.0.0.1:{port}/missing",)),
        python("other", IDLE),
    )
    it.until_running("other")
    assert it.component("server").status == "starting"

    allowed.touch()

    it.until_running("server")
    assert it.component("missing").status == "starting"


def test_what_another_program_answers_does_not_count(supervised: Callable[..., Supervised]) -> None:
    with SimulatorServer() as simulator:
        address = f"{simulator.openai_base_url.removesuffix('/v1')}/health"
        it = supervised(python("server", ENDS_AT_ONCE, probes=(address,)))
        until(lambda: it.component("server").failures >= 3, "three failures")
        assert it.component("server").status != "running"


def test_a_component_that_cannot_be_started_is_tried_again(
    supervised: Callable[..., Supervised], tmp_path: Path
) -> None:
    program = tmp_path / "program"
    it = supervised(Component("later", (str(program), "-c", IDLE)), python("other", IDLE))
    until(lambda: it.component("later").failures >= 2, "two failures")
    it.until_running("other")

    program.symlink_to(sys.executable)

    it.until_running("later")
    _, said = it.stop()
    assert f"later cannot be started ([Errno 2] No such file or directory: '{program}'); it starts again in" in said


def test_what_cannot_be_written_ends_no_supervision(supervised: Callable[..., Supervised], tmp_path: Path) -> None:
    it = supervised(python("worker", IDLE))
    it.until_running("worker")
    first = it.component("worker").pid
    assert first is not None
    # No state can be kept any more, and nobody reads what is said.
    (tmp_path / "state.json").unlink()
    (tmp_path / "state.json").mkdir()
    assert it.process.stdout is not None
    it.process.stdout.close()

    os.kill(first, signal.SIGKILL)
    again = until(lambda: [pid for pid in children(it.process.pid) if pid != first and alive(pid)], "the restart")
    (tmp_path / "state.json").rmdir()
    os.kill(again[0], signal.SIGKILL)

    until(lambda: (tmp_path / "state.json").exists() and it.component("worker").failures >= 2, "the second restart")
    it.process.terminate()
    assert it.process.wait(30) == 0


def test_a_folder_has_one_supervisor(supervised: Callable[..., Supervised]) -> None:
    it = supervised(python("worker", IDLE))
    assert is_supervised(it.folder)

    second = subprocess.run(
        [sys.executable, "-m", "airflow_llm_provider.cli.supervisor", str(it.folder)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == 1
    assert f"another supervisor is at work on {it.folder}" in second.stderr
    it.stop()
    assert not is_supervised(it.folder)


def test_components_inherit_the_environment(
    supervised: Callable[..., Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", "not in any file")
    it = supervised(
        python("worker", "import os, time; print(len(os.environ['SECRET_OF_THE_TEST']), flush=True)\n" + IDLE)
    )
    until(lambda: "15" in it.log("worker"), "the variable")
    assert all("not in any file" not in path.read_text() for path in it.folder.glob("*.json"))


def test_a_folder_without_a_plan_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert supervisor.main([str(tmp_path)]) == 2
    assert f"{tmp_path} holds no plan.json" in capsys.readouterr().err


def test_plan_and_state_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None
    assert read_state(tmp_path) is None
    plan = Plan((Component("a", ("b", "c"), ("http://d",), 3.0), Component("e", ("f",))), tmp_path, Policy(grace=1))
    state = State(1, 2.5, {"a": ComponentState("running", 3, 4, 5, -9), "e": ComponentState()})

    write_plan(plan)
    write_state(tmp_path, state)

    assert read_plan(tmp_path) == plan
    assert read_state(tmp_path) == state


def test_what_is_exported_exists() -> None:
    for module in (supervision, supervisor):
        assert all(hasattr(module, name) for name in module.__all__)
