"""Events that start workflows through Airflow's assets: posted to its API, and published in a real Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from tests.integration.airflow.conftest import AirflowStand, until
from tests.integration.airflow.test_workflows import drop, states

WORKFLOW = """
apiVersion: orchestrator.llm/v1
kind: EventWorkflow
metadata: {{name: {name}}}
spec:
  trigger: {{eventSource: "{source}", eventType: opened, filter: "event.data.level > 2"}}
  inputs:
    - {{name: text, type: string, required: true, source: event.data.text}}
  tasks:
    - {{id: a, executor: "llm-forge:text-transform", inputs: {{prompt: "${{{{ inputs.text }}}} ${{{{ event.type }}}}"}}}}
    - {{id: b, executor: "llm-forge:text-transform", inputs: {{prompt: "${{{{ tasks.a.outputs.text }}}}!"}}}}
  outputs: {{b: "${{{{ tasks.b.outputs.text }}}}"}}
  events: {{onSuccess: [{{type: deadletter}}]}}
"""


def post(stand: AirflowStand, source: str, event: Mapping[str, Any]) -> None:
    found = stand.api.request("GET", "/assets", params={"name_pattern": f"llm-event://{source}"})["assets"]
    [asset] = [item for item in found if item["name"] == f"llm-event://{source}"]
    stand.api.request("POST", "/assets/events", json={"asset_id": asset["id"], "extra": dict(event)})


def told(stand: AirflowStand, dag_id: str) -> list[str]:
    """Give what the runs of a workflow made of their events."""
    listed = stand.api.request("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
    found = [stand.api.xcom(stand.api.dag_run(dag_id, item["dag_run_id"]), "workflow_outputs") for item in listed]
    return sorted(output["b"] for output in found if output)


def until_told(stand: AirflowStand, dag_id: str, expected: list[str]) -> None:
    until(lambda: told(stand, dag_id) == expected, lambda: f"{expected}, not {told(stand, dag_id)}", 90)


def test_each_asset_event_that_is_met_has_a_run(airflow_stand: AirflowStand) -> None:
    api = airflow_stand.api
    drop(airflow_stand, "desk", WORKFLOW.format(name="desk", source="desk"))
    airflow_stand.wait_for_dag("desk")
    # Faster than Airflow makes runs, so that some of them are joined.
    for number in range(6):
        post(
            airflow_stand,
            "desk",
            {"id": f"n{number}", "type": "opened", "data": {"text": str(number), "level": number}},
        )
    until_told(airflow_stand, "desk", ["3 opened!", "4 opened!", "5 opened!"])
    [handing_on, *_] = api.request("GET", "/dags/desk/dagRuns", params={"run_type": "asset_triggered"})["dag_runs"]
    run = api.wait(api.dag_run("desk", handing_on["dag_run_id"]), 60)
    assert run.state == "success"
    assert states(airflow_stand, run) == {
        "workflow_event": "success",
        "a": "skipped",
        "b": "skipped",
        "workflow_outputs": "skipped",
        "workflow_events": "skipped",
    }
    reason = api.xcom(run, "workflow_event", "skipped")
    assert reason.endswith("runs of their own; the workflow waits for type opened and event.data.level > 2")


def test_a_message_of_a_queue_starts_a_run(airflow_stand: AirflowStand, redis_port: int) -> None:
    source = f"redis+pubsub://127.0.0.1:{redis_port}/tickets"
    drop(airflow_stand, "queued", WORKFLOW.format(name="queued", source=source))
    airflow_stand.wait_for_dag("queued")
    with redis.Redis(port=redis_port, decode_responses=True) as client:
        until(lambda: bool(client.pubsub_numsub("tickets")[0][1]), lambda: "the triggerer to subscribe", 60)
        for word in ("one", "two"):
            client.publish("tickets", f'{{"type": "opened", "data": {{"text": "{word}", "level": 3}}}}')
        until_told(airflow_stand, "queued", ["one opened!", "two opened!"])
