"""Keeps a handful of long-running programs alive, and leaves nothing behind when it ends.

``airflow standalone`` starts the components and watches them die; this starts each in a session of its own, starts
again one that ended (waiting longer each time it keeps ending), and stops all in reverse order. It knows nothing of
Airflow: what to run stands in a :class:`~airflow_llm_provider.cli.supervision.Plan`.

A component's helpers may move to process groups of their own, as Airflow's task processes do. On Linux the supervisor
is therefore the one that orphans are handed to: whatever a dead component leaves is found among the supervisor's
children and killed, so that a second scheduler never works beside the forks of the first. Should the supervisor itself
be killed, the kernel tells the components to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from airflow_llm_provider.cli.children import adopt_orphans, ending_with_parent
from airflow_llm_provider.cli.supervision import Component, ComponentState, Plan, State, alone, read_plan, write_state
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["main", "supervise"]

_POLL = 0.1


def supervise(plan: Plan, on_ready: Callable[[], None] | None = None) -> None:
    """Keep the plan's components alive until SIGTERM, SIGINT or SIGHUP; a second signal cuts the grace short.

    Whoever calls it is the one supervisor of the plan's folder: see :func:`~airflow_llm_provider.cli.supervision.alone`.

    Args:
        plan: What to keep alive.
        on_ready: Called once, when all of them run.
    """
    adopt_orphans()
    asyncio.run(_Supervisor(plan, on_ready).run())


class _Supervisor:
    def __init__(self, plan: Plan, on_ready: Callable[[], None] | None) -> None:
        self._plan = plan
        self._on_ready = on_ready
        self._state = State(os.getpid(), time.time(), {item.name: ComponentState() for item in plan.components})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup has SIGHUP ignored.
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)
        reaper = asyncio.create_task(self._reap())
        keepers = {item.name: asyncio.create_task(self._keep(item)) for item in self._plan.components}
        try:
            # No keeper ends before that, unless by an error; then no component outlives the supervisor.
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait((stopping, *keepers.values()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            _say("stopping")
            for component in reversed(self._plan.components):
                await self._end(component)
                await asyncio.wait((keepers[component.name],))
            self._kill_orphans()
            reaper.cancel()
        for keeper in keepers.values():
            keeper.result()

    def _on_signal(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    async def _keep(self, component: Component) -> None:
        name, state, policy = component.name, self._state.components[component.name], self._plan.policy
        log = self._plan.log(name) if self._plan.keeps_logs else None
        if log is not None:
            with contextlib.suppress(OSError):
                log.unlink(missing_ok=True)
        while not self._stopping.is_set():
            since = time.monotonic()
            ending = await self._run_once(component, state, log)
            if self._stopping.is_set():
                break
            state.failures = 1 if time.monotonic() - since >= policy.stable else state.failures + 1
            wait = policy.wait(state.failures)
            state.status = "waiting"
            self._publish()
            told = f"; its log is {log}" if log is not None else ""
            _say(f"{name} {ending}; it starts again in {wait:g} s{told}")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
            state.restarts += not self._stopping.is_set()
        state.status = "stopped"
        self._publish()

    async def _run_once(self, component: Component, state: ComponentState, log: Path | None) -> str:
        """Start a component, wait until it ends, and tell how it did."""
        try:
            process = self._processes[component.name] = _start(component, log)
        except OSError as error:
            return f"cannot be started ({error})"
        state.pid, state.status = process.pid, "starting"
        self._publish()
        probe = asyncio.create_task(self._probe(component, state, process))
        await _until(lambda: process.poll() is not None)
        probe.cancel()
        del self._processes[component.name]
        _kill_group(process.pid)
        self._kill_orphans()
        state.pid, state.last_exit = None, process.returncode
        return f"ended with {_ending(process.returncode)}"

    async def _probe(self, component: Component, state: ComponentState, process: subprocess.Popen[bytes]) -> None:
        # The first answer of a fresh server may take it half a minute; a proxy of the environment is not for loopback, and a
        # certificate is for the name by which others reach it.
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=120) as client:
            for address in component.probes:
                while not await _answers(client, address):  # noqa: ASYNC110  no event tells
                    await asyncio.sleep(_POLL)
        if process.poll() is not None:
            # It was another program that has answered.
            return
        state.status = "running"
        self._publish()
        if self._on_ready and all(each.status == "running" for each in self._state.components.values()):
            with contextlib.suppress(OSError):
                self._on_ready()
            self._on_ready = None

    async def _reap(self) -> None:
        """Bury orphans as soon as they end: their dead would fill the table of processes."""
        while sys.platform == "linux":
            self._bury()
            await asyncio.sleep(_POLL)

    def _bury(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                ours = [process for process in self._processes.values() if process.pid == ended.si_pid]
                _ = ours[0].poll() if ours else os.waitpid(ended.si_pid, 0)

    async def _end(self, component: Component) -> None:
        process = self._processes.get(component.name)
        grace = self._plan.policy.grace if component.grace is None else component.grace
        if process is None:
            return
        # Only the leader is asked: it knows in which order its own helpers can end.
        process.terminate()
        deadline = time.monotonic() + grace
        await _until(lambda: process.poll() is not None or time.monotonic() > deadline or self._hurry.is_set())
        if process.poll() is None:
            _say(f"{component.name} did not end by itself and is killed")
            _kill_group(process.pid)

    def _kill_orphans(self) -> None:
        # What shares a component's session is its own, and lives while it does.
        living = {process.pid for process in self._processes.values() if process.poll() is None}
        # Killing an orphan hands its own children over, so look until none is left.
        while orphans := [pid for pid, session in _children() if not living & {pid, session}]:
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _publish(self) -> None:
        # That components live matters more than that somebody can read how they do.
        try:
            write_state(self._plan.folder, self._state)
        except ConfigurationError as error:
            _say(str(error))


def _start(component: Component, log: Path | None) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("ab"))
        return subprocess.Popen(
            component.command,
            env={**os.environ, **component.variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if log is None else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ending_with_parent(),  # safe, for the supervisor has one thread
        )


async def _until(condition: Callable[[], bool]) -> None:
    # Polling, because asyncio's own way to wait for a process takes a thread each on Python 3.10 and 3.11.
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(_POLL)


async def _answers(client: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await client.get(address)).status_code == 200
    except httpx.HTTPError:
        return False


def _children() -> Iterator[tuple[int, int]]:
    """Give the children of this process, each with its session."""
    me = str(os.getpid())
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # The second field, the program's name, may hold spaces and brackets; state, parent, group and session follow it.
        with contextlib.suppress(OSError):
            pid, _, rest = stat.read_text(encoding="utf-8", errors="replace").partition(" ")
            _, parent, _, session, *_ = rest.rpartition(")")[2].split()
            if parent == me:
                yield int(pid), int(session)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _say(line: str) -> None:
    # Nobody may be listening any more, or the disk may be full. What stayed in a buffer would fail again at the end.
    with contextlib.suppress(OSError):
        os.write(1, f"{time.strftime('%H:%M:%S')} {line}\n".encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program: the one argument is the folder that holds the plan.

    Returns:
        0 after an orderly end, 1 when another supervisor is at work on the folder, 2 when it holds no plan.
    """
    (folder,) = sys.argv[1:] if arguments is None else arguments
    plan = read_plan(Path(folder))
    if plan is None:
        print(f"{folder} holds no plan.json: write one with supervision.write_plan", file=sys.stderr)
        return 2
    try:
        with alone(plan.folder):
            plan.log("supervisor").parent.mkdir(parents=True, exist_ok=True)
            supervise(plan)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
