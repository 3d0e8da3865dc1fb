"""The client of Airflow's REST API and the report made with it, against scripted answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from airflow_llm_provider.cli import airflow_api
from airflow_llm_provider.cli.airflow_api import AirflowAPI, AirflowAPIError
from airflow_llm_provider.cli.home import Home
from airflow_llm_provider.cli.run_report import Teller, read_report

RUN = {
    "dag_id": "flow",
    "dag_run_id": "r1",
    "state": "failed",
    "start_date": "2026-01-02T03:04:05Z",
    "end_date": "2026-01-02T03:04:09.500000Z",
}

Connect = Callable[[dict[str, Any]], AirflowAPI]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make a client of an Airflow that knows the given paths and answers 404 to all others."""
    clients = []

    def make(answers: dict[str, Any]) -> AirflowAPI:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/auth/token":
                good = json.loads(request.content) == {"username": "admin", "password": "right"}
                return httpx.Response(201 if good else 401, json={"access_token": "token"} if good else {})
            found = answers.get(request.url.path.removeprefix("/api/v2"))
            if found is None:
                return httpx.Response(404, json={"detail": "nothing here"})
            result = found(request) if callable(found) else found
            return result if isinstance(result, httpx.Response) else httpx.Response(200, json=result)

        clients.append(AirflowAPI("http://airflow", "admin", "right", httpx.MockTransport(answer)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def task(task_id: str, state: str, started: str, map_index: int = -1) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "map_index": map_index,
        "state": state,
        "duration": 1.5,
        "start_date": started,
        "end_date": started,
        "try_number": 1,
    }


def test_a_token_is_fetched_when_needed_and_again_when_it_has_run_out(connect: Connect) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("authorization"))
        return httpx.Response(401 if len(asked) == 1 else 200, json={"dag_id": "flow"})

    assert connect({"/dags/flow": answer}).dag("flow") == {"dag_id": "flow"}
    assert asked == ["Bearer token", "Bearer token"]


def test_a_wrong_password_is_named_but_not_told() -> None:
    refuse = httpx.MockTransport(lambda request: httpx.Response(401))
    api = AirflowAPI("http://airflow", "admin", "the wrong one", refuse)
    with pytest.raises(AirflowAPIError, match="does not let 'admin' in") as raised:
        api.dag_ids()
    assert "the wrong one" not in str(raised.value)
    api.close()


def test_what_is_not_there_is_none_and_a_refusal_is_an_error(connect: Connect) -> None:
    api = connect({"/dags/closed": httpx.Response(403, json={"detail": "not for you"})})
    assert api.dag("flow") is None
    with pytest.raises(AirflowAPIError, match="GET /api/v2/dags/closed with 403: not for you"):
        api.dag("closed")


def test_lists_are_read_to_their_end(connect: Connect) -> None:
    def page(request: httpx.Request) -> dict[str, Any]:
        offset = int(request.url.params["offset"])
        ids = [f"d{number}" for number in range(offset, min(offset + 100, 250))]
        return {"dags": [{"dag_id": dag_id} for dag_id in ids], "total_entries": 250}

    assert connect({"/dags": page}).dag_ids() == [f"d{number}" for number in range(250)]


def test_a_silent_server_has_no_health() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    api = AirflowAPI("http://airflow", "admin", "right", httpx.MockTransport(refuse))
    assert api.health() is None
    api.close()


def test_an_old_sign_of_life_does_not_count(connect: Connect) -> None:
    beat = "2026-01-02T03:04:05+00:00"
    health = connect(
        {
            "/monitor/health": {
                "metadatabase": {"status": "healthy"},
                "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat},
                "triggerer": {"status": "unhealthy", "latest_triggerer_heartbeat": beat},
                "dag_processor": {"status": None, "latest_dag_processor_heartbeat": None},
            }
        }
    ).health()
    assert health is not None
    moment = health.heartbeats["scheduler"]
    assert moment is not None
    assert health.missing(moment.timestamp() - 1) == ["triggerer", "dag_processor"]
    assert health.missing(moment.timestamp() + 1) == ["scheduler", "triggerer", "dag_processor"]


def test_waiting_ends_with_the_run_or_with_the_time(connect: Connect) -> None:
    states = iter(["queued", "running", "running", "success"])

    def run(request: httpx.Request) -> dict[str, Any]:
        return {**RUN, "state": next(states)}

    seen: list[str] = []
    api = connect({"/dags/flow/dagRuns": {**RUN, "state": "queued"}, "/dags/flow/dagRuns/r1": run})
    ended = api.wait(api.trigger("flow", {"a": 1}), interval=0, watch=lambda run: seen.append(run.state))
    assert (ended.state, seen) == ("success", ["queued", "running", "running", "success"])

    endless = connect(
        {"/dags/flow/dagRuns": {**RUN, "state": "queued"}, "/dags/flow/dagRuns/r1": {**RUN, "state": "running"}}
    )
    with pytest.raises(AirflowAPIError, match=r"run r1 of flow is still \w+ after 0 s"):
        endless.wait(endless.trigger("flow"), timeout=0, interval=0)


def test_a_report_shows_tasks_outputs_cost_and_errors(connect: Connect, tmp_path: Path) -> None:
    tasks = [
        task("late", "failed", "2026-01-02T03:04:08Z"),
        task("ask", "success", "2026-01-02T03:04:06Z"),
        task("each", "success", "2026-01-02T03:04:07Z", 0),
    ]
    usage = {"provider": "openai", "model": "gpt-4o-mini", "total_tokens": 12, "cost_usd": 0.00021, "attempts": 1}
    triggered = {"provider": "anthropic", "model": "claude", "total_tokens": 30, "cost_usd": None, "attempts": 1}
    below = "/dags/flow/dagRuns/r1/taskInstances"
    detail = [{"exc_type": "StepError", "exc_value": "no [luck]"}]
    api = connect(
        {
            "/dags/flow/dagRuns/r1": RUN,
            below: {"task_instances": tasks, "total_entries": 3},
            f"{below}/ask/xcomEntries/llm_usage": {"value": usage},
            f"{below}/ask/xcomEntries/return_value": {"value": "an answer"},
            f"{below}/each/xcomEntries/llm_usage": {"value": json.dumps(triggered)},
            f"{below}/each/xcomEntries/return_value": {"value": json.dumps({"n": 1})},
            f"{below}/late/logs/1": {"content": [{"event": "failed", "level": "error", "error_detail": detail}]},
        }
    )
    report = read_report(api, api.dag_run("flow", "r1"))
    assert [item.name for item in report.tasks] == ["ask", "each[0]", "late"]
    assert report.usages == {"ask": usage, "each[0]": triggered}
    assert report.outputs == {"ask": "an answer", "each[0]": {"n": 1}}
    assert report.errors == {"late": "StepError: no [luck]"}

    home, written = Home(tmp_path), io.StringIO()
    place = home.choose_place(tmp_path, None)
    Teller(Console(file=written, width=100)).show(report, home)
    text = written.getvalue()
    assert "openai/gpt-4o-mini" in text
    assert "late: StepError: no [luck]" in text
    assert "failed in 4.5 s, 42 tokens, $0.000210 plus models of unknown price" in text
    assert f"{place.url}/dags/flow/runs/r1" in text


def test_declared_outputs_are_the_outputs(connect: Connect) -> None:
    below = "/dags/flow/dagRuns/r1/taskInstances"
    tasks = [
        task("ask", "success", "2026-01-02T03:04:06Z"),
        task("workflow_outputs", "success", "2026-01-02T03:04:07Z"),
    ]
    api = connect(
        {
            "/dags/flow/dagRuns/r1": RUN,
            below: {"task_instances": tasks, "total_entries": 2},
            f"{below}/ask/xcomEntries/return_value": {"value": "an answer"},
            f"{below}/workflow_outputs/xcomEntries/return_value": {"value": {"mood": "fine"}},
        }
    )
    assert read_report(api, api.dag_run("flow", "r1")).outputs == {"mood": "fine"}


def test_progress_without_a_terminal_is_a_line_for_each_change() -> None:
    written = io.StringIO()
    with Teller(Console(file=written, width=100)) as teller:
        for text in ("one", "one", "two [0]"):
            teller.say(text)
    assert written.getvalue() == "one\ntwo [0]\n"


def test_what_is_exported_exists() -> None:
    assert all(hasattr(airflow_api, name) for name in airflow_api.__all__)
