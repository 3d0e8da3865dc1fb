"""A small client for the part of Airflow's public REST API that running a workflow takes.

It logs in with a user name and password when first needed, and again when a token has run out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import httpx

from airflow_llm_provider.errors import LLMProviderError

__all__ = ["AirflowAPI", "AirflowAPIError", "DagRun", "Health", "TaskInstance"]

_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowAPIError(LLMProviderError):
    """Airflow refused a request or gave no answer.

    Attributes:
        status: The HTTP status code; None when there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Health:
    """What Airflow says of its components.

    Attributes:
        healthy: Component to whether it works, from ``metadatabase``, ``scheduler``, ``triggerer``, ``dag_processor``.
        heartbeats: Component to its last sign of life; the database has none.
    """

    healthy: Mapping[str, bool]
    heartbeats: Mapping[str, datetime | None]

    def missing(self, since: float = 0.0) -> list[str]:
        """Name the components that do not work, or gave their last sign of life before ``since`` (a Unix time).

        Airflow counts a component as alive for half a minute after it was killed.
        """
        start = datetime.fromtimestamp(since, timezone.utc)
        beats = self.heartbeats
        return [
            name
            for name, healthy in self.healthy.items()
            if not healthy or (name in beats and ((beat := beats[name]) is None or beat < start))
        ]


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG; ``state`` is ``queued``, ``running``, ``success`` or ``failed``."""

    dag_id: str
    run_id: str
    state: str
    started: datetime | None
    ended: datetime | None

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self.state in ("success", "failed")


@dataclass(frozen=True)
class TaskInstance:
    """One task of a run.

    Attributes:
        task_id: The task.
        map_index: Its place among mapped ones, or -1.
        state: Airflow's state, or None before it was scheduled.
        duration: Seconds it ran, if it has ended.
        started: When it began.
        ended: When it ended.
        attempts: How often it was tried.
    """

    task_id: str
    map_index: int
    state: str | None
    duration: float | None
    started: datetime | None
    ended: datetime | None
    attempts: int

    @property
    def name(self) -> str:
        """The task's name with its place among mapped ones."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


class AirflowAPI:
    """Airflow's REST API at one address; close it, or wrap it in ``contextlib.closing``.

    Args:
        url: Address of the API server, with the path that it answers below, if any.
        username: User name.
        password: That user's password.
        transport: What carries the requests, for tests.
    """

    def __init__(self, url: str, username: str, password: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._username, self._password = username, password
        self._token: str | None = None
        # The proxy of the environment is not for an address on this machine, and Airflow may take long when it starts.
        self._client = httpx.Client(base_url=self.url, timeout=60, trust_env=False, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request to the public API and return the decoded answer.

        Args:
            method: HTTP method.
            path: Path below ``/api/v2``.
            options: What else ``httpx.Client.request`` takes, such as ``json`` and ``params``.

        Raises:
            AirflowAPIError: The answer is an error, or there is none.
        """
        if self._token is None:
            self._login()
        response = self._send(method, f"/api/v2{path}", headers=self._headers(), **options)
        if response.status_code == 401:
            self._login()
            response = self._send(method, f"/api/v2{path}", headers=self._headers(), **options)
        if response.is_error:
            raise _refusal(response)
        return response.json() if response.content else None

    def health(self) -> Health | None:
        """Ask how the components are; None when the API server does not answer. No login is needed."""
        try:
            answer = self._send("GET", "/api/v2/monitor/health").json()
        except (AirflowAPIError, ValueError):
            return None
        parts = {name: answer.get(name) or {} for name in _COMPONENTS}
        return Health(
            {name: part.get("status") == "healthy" for name, part in parts.items()},
            {
                name: _moment(part.get(f"latest_{name}_heartbeat"))
                for name, part in parts.items()
                if name != "metadatabase"
            },
        )

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Describe a DAG; None when Airflow does not know it (yet)."""
        return self._found(f"/dags/{dag_id}")

    def dag_ids(self) -> list[str]:
        """List the DAGs that Airflow has read."""
        return [item["dag_id"] for item in self._all("/dags", "dags")]

    def import_errors(self) -> dict[str, str]:
        """List the files that Airflow could not read, each with the error's text."""
        return {item["filename"]: item["stack_trace"] for item in self._all("/importErrors", "import_errors")}

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs start."""
        self.request("PATCH", f"/dags/{dag_id}", params={"update_mask": "is_paused"}, json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> DagRun:
        """Start a run.

        Args:
            dag_id: The DAG.
            conf: The run's configuration: a workflow's inputs.
            run_id: The run's id; Airflow makes one up when None.

        Raises:
            AirflowAPIError: Its status is 409 when there is a run of that id.
        """
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return _dag_run(self.request("POST", f"/dags/{dag_id}/dagRuns", json=body))

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Describe a run."""
        return _dag_run(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def wait(
        self,
        run: DagRun,
        timeout: float = 600,
        interval: float = 0.5,
        watch: Callable[[DagRun], None] = lambda run: None,
    ) -> DagRun:
        """Wait until a run has ended.

        Args:
            run: The run, as :meth:`trigger` gave it.
            timeout: Longest wait in seconds.
            interval: Seconds between two looks.
            watch: Called with what each look showed.

        Raises:
            AirflowAPIError: The run has not ended in time.
        """
        deadline = time.monotonic() + timeout
        while not run.done:
            if time.monotonic() > deadline:
                raise AirflowAPIError(
                    f"run {run.run_id} of {run.dag_id} is still {run.state} after {timeout:g} s; look at its tasks in"
                    f" {self.url}/dags/{run.dag_id}/runs/{run.run_id}"
                )
            time.sleep(interval)
            run = self.dag_run(run.dag_id, run.run_id)
            watch(run)
        return run

    def task_instances(self, run: DagRun) -> list[TaskInstance]:
        """List a run's tasks in the order in which they began."""
        items = self._all(f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances", "task_instances")
        tasks = [
            TaskInstance(
                item["task_id"],
                item["map_index"],
                item["state"],
                item["duration"],
                _moment(item["start_date"]),
                _moment(item["end_date"]),
                item["try_number"],
            )
            for item in items
        ]
        never = datetime.max.replace(tzinfo=timezone.utc)
        return sorted(tasks, key=lambda task: (task.started or never, task.task_id, task.map_index))

    def xcom(self, run: DagRun, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Read what a task pushed; None when it pushed nothing under that key.

        What a trigger pushed comes as JSON text, for Airflow encodes it twice.
        """
        answer = self._found(
            f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/xcomEntries/{key}",
            params={"map_index": map_index},
        )
        return None if answer is None else answer["value"]

    def log(self, run: DagRun, task: TaskInstance) -> list[dict[str, Any]]:
        """Read the log of a task's last try: a mapping for each line, with ``event`` and mostly ``level``."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task.task_id}/logs/{task.attempts}"
        content: list[dict[str, Any]] = self.request("GET", path, params={"map_index": task.map_index})["content"]
        return content

    def _found(self, path: str, **options: Any) -> dict[str, Any] | None:
        try:
            return self.request("GET", path, **options)  # type: ignore[no-any-return]
        except AirflowAPIError as error:
            if error.status == 404:
                return None
            raise

    def _all(self, path: str, key: str) -> Iterator[dict[str, Any]]:
        # A page holds 100 at most, whatever is asked for.
        seen, total = 0, 1
        while seen < total:
            answer = self.request("GET", path, params={"limit": 100, "offset": seen})
            yield from answer[key]
            seen, total = seen + len(answer[key]), answer["total_entries"] if answer[key] else 0

    def _login(self) -> None:
        credentials = {"username": self._username, "password": self._password}
        response = self._send("POST", "/auth/token", json=credentials)
        if response.is_error:
            raise AirflowAPIError(
                f"{self.url} does not let {self._username!r} in (HTTP {response.status_code}): check the password",
                response.status_code,
            )
        self._token = response.json()["access_token"]

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise AirflowAPIError(f"no answer from {self.url}{path}: {type(error).__name__}: {error}") from error


def _dag_run(item: Mapping[str, Any]) -> DagRun:
    return DagRun(
        item["dag_id"], item["dag_run_id"], item["state"], _moment(item["start_date"]), _moment(item["end_date"])
    )


def _refusal(response: httpx.Response) -> AirflowAPIError:
    try:
        reason = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        reason = response.text[:500]
    request = response.request
    text = f"Airflow answered {request.method} {request.url.path} with {response.status_code}: {reason}"
    return AirflowAPIError(text, response.status_code)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
