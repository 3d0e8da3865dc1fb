"""Workflow files in a real Airflow: dropped in, triggered, run, failed, looked at."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_llm_provider.accounting.prices import cost_usd
from airflow_llm_provider.cli.airflow_api import DagRun
from airflow_llm_provider.cli.home import USER
from airflow_llm_provider.clients.base import Usage
from dag_factory import read_file
from tests.conftest import EXAMPLES, WORKFLOWS
from tests.integration.airflow.conftest import AirflowStand, until

LLM = "type: llm, provider: openai, model: gpt-4o-mini"


def drop(stand: AirflowStand, name: str, text: str) -> Path:
    """Put a workflow file into the dags folder."""
    path = stand.dags_folder / "workflows" / f"{name}.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def states(stand: AirflowStand, run: DagRun) -> dict[str, str | None]:
    return {task.task_id: task.state for task in stand.api.task_instances(run)}


def airflow(stand: AirflowStand, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow", *arguments]
    return subprocess.run(command, env=dict(stand.environment), capture_output=True, text=True, check=False)


def told_json(done: subprocess.CompletedProcess[str]) -> Any:
    """Give what a command wrote with ``-o json``; Airflow's own warnings go to standard output too."""
    return json.loads(done.stdout.splitlines()[-1])


def rendered(stand: AirflowStand, run: DagRun, task_id: str) -> Mapping[str, Any]:
    path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}"
    fields: Mapping[str, Any] = stand.api.request("GET", path)["rendered_fields"]
    return fields


def faults(stand: AirflowStand, *given: Mapping[str, Any]) -> None:
    httpx.post(f"{stand.simulator_url}/_simulator/faults", json=list(given)).raise_for_status()


def log_text(stand: AirflowStand, run: DagRun) -> str:
    return json.dumps([stand.api.log(run, task) for task in stand.api.task_instances(run)])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(airflow_stand: AirflowStand, path: Path) -> None:
    [workflow] = read_file(path).workflows
    run = airflow_stand.run(workflow.dag_id, json.loads(path.with_suffix(".input.json").read_text()))
    assert run.state == "success", states(airflow_stand, run)
    if workflow.outputs:
        outputs = airflow_stand.api.xcom(run, "workflow_outputs")
        assert {*outputs} == {output.name for output in workflow.outputs}


def test_what_airflow_shows_of_a_run(airflow_stand: AirflowStand) -> None:
    run = airflow_stand.run("sentiment-analysis", {"text": "It works, thank you! {{ ds }} {% raw %}"})
    api = airflow_stand.api

    assert api.xcom(run, "classify") == {"sentiment": "positive"}
    assert api.xcom(run, "workflow_outputs")["sentiment"] == "positive"
    usage = api.xcom(run, "classify", "llm_usage")
    assert (usage["provider"], usage["model"], usage["attempts"]) == ("openai", "gpt-4o-mini", 1)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert usage["cost_usd"] > 0
    assert api.xcom(run, "log_result", "step")["state"] == "completed"
    # What the user wrote is in the prompt as it is: Jinja has not seen it.
    fields = rendered(airflow_stand, run, "classify")
    assert fields["prompt"].rstrip().endswith("It works, thank you! {{ ds }} {% raw %}")
    assert fields["system"] == "You label the sentiment of customer messages."
    assert "of positive sentiment" in rendered(airflow_stand, run, "respond")["prompt"]


def test_what_airflow_shows_of_a_workflow(airflow_stand: AirflowStand) -> None:
    airflow_stand.wait_for_dag("support-ticket-triage")
    source = (WORKFLOWS / "support-ticket-triage.yaml").read_text()
    details = airflow_stand.api.request("GET", "/dags/support-ticket-triage/details")
    assert source.strip() in details["doc_md"]
    assert {tag["name"] for tag in details["tags"]} == {"llm", "support"}
    assert details["params"]["tier"]["schema"]["enum"] == ["standard", "premium", "enterprise"]
    assert details["params"]["tier"]["value"] == "standard"
    code = airflow_stand.api.request("GET", "/dagSources/support-ticket-triage")
    assert code["content"] == source


def test_the_trigger_checks_inputs(airflow_stand: AirflowStand) -> None:
    airflow_stand.wait_for_dag("support-ticket-triage")
    with pytest.raises(Exception, match="platinum"):
        airflow_stand.api.trigger("support-ticket-triage", {"subject": "s", "body": "b", "tier": "platinum"})
    with pytest.raises(Exception, match="No value passed"):
        airflow_stand.api.trigger("sentiment-analysis", {})


def test_airflow_dags_trigger(airflow_stand: AirflowStand) -> None:
    airflow_stand.wait_for_dag("sentiment-analysis")
    conf = json.dumps({"text": "broken again"})
    done = airflow(
        airflow_stand, "dags", "trigger", "sentiment-analysis", "--conf", conf, "--run-id", "by-hand", "-o", "json"
    )
    assert done.returncode == 0, done.stderr
    run = airflow_stand.api.wait(airflow_stand.api.dag_run("sentiment-analysis", "by-hand"), 120)
    assert run.state == "success"
    assert airflow_stand.api.xcom(run, "classify") == {"sentiment": "negative"}


def test_a_failing_provider_is_asked_again(airflow_stand: AirflowStand) -> None:
    drop(airflow_stand, "flaky", f"name: flaky\nsteps:\n  - {{id: ask, {LLM}, prompt: flaky question}}\n")
    airflow_stand.wait_for_dag("flaky")
    faults(
        airflow_stand,
        {"status": 429, "retry_after": 1, "match": "flaky question"},
        {"status": 500, "match": "flaky question"},
    )
    run = airflow_stand.run("flaky")
    assert run.state == "success"
    assert airflow_stand.api.xcom(run, "ask", "llm_usage")["attempts"] == 3
    log = log_text(airflow_stand, run)
    # As late as was asked, or a little later.
    assert re.search(r"Try 1 of step ask failed, next in 1\.[01] s: RateLimitError", log)
    assert "Try 2 of step ask failed" in log


def test_a_long_wait_is_airflows(airflow_stand: AirflowStand) -> None:
    drop(
        airflow_stand,
        "later",
        f"""
        name: later
        steps:
          - {{id: ask, {LLM}, prompt: later alone}}
          - {{id: each, type: "orchestrator:fan-out", items: [1, 2], task_template: {{{LLM}, prompt: "later in {{{{ item }}}}"}}}}
          - id: mapped
            type: orchestrator:fan-out
            items: [1]
            airflow: {{lane: mapped}}
            task_template: {{{LLM}, prompt: later mapped}}
        """,
    )
    airflow_stand.wait_for_dag("later")
    for prompt in ("later alone", "later in 2", "later mapped"):
        faults(airflow_stand, {"status": 429, "retry_after": 31, "match": prompt})
    api = airflow_stand.api
    run = api.trigger("later", {})
    waiting = {"ask", "each", "mapped.item"}

    def states() -> dict[str, str | None]:
        return {task.task_id: task.state for task in api.task_instances(run)}

    until(
        lambda: {name for name, state in states().items() if state == "up_for_retry"} >= waiting, lambda: str(states())
    )
    ended = api.wait(run, 180)
    assert ended.state == "success"
    assert api.xcom(ended, "ask", "llm_usage")["attempts"] == 2
    # What was answered before the wait is not paid again, and not lost.
    assert api.xcom(ended, "each", "llm_usage")["calls"] == 2
    assert {task.task_id for task in api.task_instances(ended) if task.attempts == 2} == waiting


@pytest.mark.parametrize("granularity", ["task", "workflow"])
def test_a_killed_task_pays_nothing_again(airflow_stand: AirflowStand, granularity: str) -> None:
    name, api = f"killed-{granularity}", airflow_stand.api
    drop(
        airflow_stand,
        name,
        f"""
        name: {name}
        airflow: {{granularity: {granularity}, retries: 1, retry_delay: 0s}}
        steps:
          - id: each
            type: orchestrator:fan-out
            items: [1, 2, 3, 4, 5, 6]
            max_concurrency: 1
            task_template: {{{LLM}, prompt: "{name} {{{{ item }}}}"}}
        outputs: {{count: "${{{{ steps.each.count }}}}"}}
        """.replace("steps.each.count", "length(steps.each)"),
    )
    airflow_stand.wait_for_dag(name)
    faults(airflow_stand, {"delay": 1, "match": f"^{name}", "times": 6})
    run = api.trigger(name)
    task_id = "each" if granularity == "task" else "workflow_outputs"
    asked = 0

    def answered() -> bool:
        nonlocal asked
        requests = httpx.get(f"{airflow_stand.simulator_url}/_simulator/stats").json()["requests"]
        asked = sum(str(request["body"]).count(f"{name} ") for request in requests)
        return asked >= 4

    until(answered, lambda: f"{asked} asked", 60)
    found = api.request("GET", f"/dags/{name}/dagRuns/{run.run_id}/taskInstances/{task_id}")
    os.kill(found["pid"], signal.SIGKILL)
    run = api.wait(run, 120)
    assert run.state == "success"
    assert api.xcom(run, "workflow_outputs") == {"count": 6}
    answered()
    # The one that was under way when the task died was never answered, so it is asked again.
    assert asked == 7
    if granularity == "task":
        usage = api.xcom(run, "each", "llm_usage")
        assert usage["calls"] == 6


def test_a_failed_step_tells_what_it_cost_and_blocks_only_its_own(airflow_stand: AirflowStand) -> None:
    drop(
        airflow_stand,
        "failing",
        f"""
        name: failing
        steps:
          - {{id: bad, type: llm, provider: openai, model: missing-model, prompt: p}}
          - {{id: after, {LLM}, prompt: "{{{{ steps.bad.output }}}}"}}
          - {{id: other, {LLM}, prompt: p}}
        outputs:
          answer: ${{{{ steps.after.output }}}}
        """,
    )
    run = airflow_stand.run("failing")
    assert run.state == "failed"
    assert states(airflow_stand, run) == {
        "bad": "failed",
        "after": "upstream_failed",
        "other": "success",
        "workflow_outputs": "upstream_failed",
    }
    usage = airflow_stand.api.xcom(run, "bad", "llm_usage")
    assert (usage["model"], usage["attempts"], usage["total_tokens"]) == ("missing-model", 1, 0)
    assert airflow_stand.api.xcom(run, "bad", "step")["error"].startswith("ModelNotFound: ")
    assert "step 'bad' failed: ModelNotFound" in log_text(airflow_stand, run)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (False, True, {"a": "skipped", "b": "success", "c": "success", "d": "success"}),
        (False, False, {"a": "skipped", "b": "skipped", "c": "skipped", "d": "skipped"}),
    ],
)
def test_skips_mean_the_same_as_in_the_local_engine(
    airflow_stand: AirflowStand, a: bool, b: bool, expected: dict[str, str]
) -> None:
    drop(
        airflow_stand,
        "skips",
        """
        name: skips
        steps:
          - {id: a, type: transform, function: template, template: a, condition: "{{ inputs.a }}"}
          - {id: b, type: transform, function: template, template: b, condition: "{{ inputs.b }}"}
          - {id: c, type: transform, function: template, template: "[{{ steps.a.output }}][{{ steps.b.output }}]"}
          - {id: d, type: transform, function: template, template: "{{ tasks.a.state }}", depends_on: [c]}
        """,
    )
    run = airflow_stand.run("skips", {"a": a, "b": b})
    assert run.state == "success"
    assert states(airflow_stand, run) == expected
    if b:
        assert airflow_stand.api.xcom(run, "c") == {"output": "[][b]"}
        assert airflow_stand.api.xcom(run, "d") == {"output": "skipped"}


def test_secrets_and_connections(airflow_stand: AirflowStand) -> None:
    api = airflow_stand.api
    api.request("POST", "/variables", json={"key": "door_code", "value": "s3cret-code"})
    connection = {
        "connection_id": "my_llm",
        "conn_type": "llm_openai",
        "host": f"{airflow_stand.simulator_url}/v1",
        "password": "sk-very-secret",
    }
    api.request("POST", "/connections", json=connection)
    drop(
        airflow_stand,
        "secrets",
        f"""
        name: secrets
        steps:
          - {{id: ask, {LLM}, connection: my_llm, prompt: "the code is {{{{ secrets.door_code }}}}"}}
          - {{id: lost, {LLM}, connection: no_such, prompt: p}}
        """,
    )
    run = airflow_stand.run("secrets")
    assert states(airflow_stand, run) == {"ask": "success", "lost": "failed"}
    assert rendered(airflow_stand, run, "ask")["prompt"] == "the code is ***"
    seen = httpx.get(f"{airflow_stand.simulator_url}/_simulator/stats").json()["requests"]
    assert any("the code is s3cret-code" in json.dumps(request) for request in seen)
    told = log_text(airflow_stand, run) + json.dumps(api.xcom(run, "ask", "step"))
    assert "s3cret-code" not in told
    assert "sk-very-secret" not in told
    assert "the Airflow connection 'no_such' does not exist" in log_text(airflow_stand, run)


def test_every_import_error_is_named_and_the_healthy_stay(airflow_stand: AirflowStand) -> None:
    bad = [
        drop(airflow_stand, "bad-key", "name: bad-key\nsteps:\n  - {id: a, provider: openai, model: m, promt: p}\n"),
        drop(airflow_stand, "bad-yaml", "name: bad-yaml\nsteps: [\n"),
        drop(
            airflow_stand,
            "bad-edges",
            f"name: bad-edges\nsteps:\n  - {{id: a, {LLM}, prompt: '{{{{ steps.b.output }}}}', depends_on: [c]}}\n",
        ),
    ]
    expected = (
        f"{bad[0]}:3:41: unknown key 'promt'; did you mean 'prompt'?",
        f"{bad[1]}:3:1: not YAML: did not find expected node content",
        f"{bad[2]}:3:74: 'steps.b.output' names a step 'b', which does not exist",
        f"{bad[2]}:3:107: there is no step 'c' to wait for",
    )
    try:

        def told() -> str | None:
            text = "\n".join(airflow_stand.api.import_errors().values())
            return text if all(item in text for item in expected) else None

        until(told, lambda: f"all errors in {airflow_stand.api.import_errors()}", 60)
        listed = airflow(airflow_stand, "dags", "list-import-errors", "-o", "json")
        assert all(item in told_json(listed)[0]["error"] for item in expected)
        assert airflow_stand.run("sentiment-analysis", {"text": "still here"}).state == "success"
    finally:
        for path in bad:
            path.unlink()
    until(lambda: not airflow_stand.api.import_errors(), lambda: f"{airflow_stand.api.import_errors()} to go away", 60)


def test_forty_parallel_steps_beside_a_busy_client(airflow_stand: AirflowStand) -> None:
    steps = "\n".join(f"  - {{id: s{number}, {LLM}, prompt: 'question {number}'}}" for number in range(40))
    drop(airflow_stand, "wide", f"name: wide\nsteps:\n{steps}\n")
    airflow_stand.wait_for_dag("wide")
    before = airflow_stand.stand.state
    run = airflow_stand.api.trigger("wide")
    run = airflow_stand.api.wait(run, 240, interval=1.0, watch=lambda run: airflow_stand.api.task_instances(run))
    after = airflow_stand.stand.state
    assert Counter(states(airflow_stand, run).values()) == {"success": 40}
    assert before is not None
    assert after is not None
    assert {name: item.pid for name, item in after.components.items()} == {
        name: item.pid for name, item in before.components.items()
    }


def test_airflow_lists_the_provider(airflow_stand: AirflowStand) -> None:
    listed = airflow(airflow_stand, "providers", "list", "-o", "json")
    assert any(item["package_name"] == "airflow-llm-provider" for item in told_json(listed))
    hooks = airflow(airflow_stand, "providers", "hooks", "-o", "json")
    types = {item["connection_type"] for item in told_json(hooks)}
    assert {"llm_openai", "llm_anthropic"} <= types
    value = airflow(airflow_stand, "config", "get-value", "llm_provider", "config_file")
    assert value.returncode == 0, value.stderr


APPROVAL = """
name: {name}
steps:
  - {{id: draft, type: transform, function: template, template: a draft}}
  - id: gate
    type: orchestrator:approval
    message: "May {{{{ steps.draft }}}} go out?"
    details: "**{{{{ steps.draft }}}}**"
    output: [approved, by, at, comment]
  - id: send
    type: transform
    function: template
    template: "sent, {{{{ steps.gate.comment }}}} ({{{{ steps.gate.approved }}}})"
outputs: {{sent: "${{{{ steps.send }}}}", by: "${{{{ steps.gate.by }}}}"}}
"""


@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_a_person_decides(airflow_stand: AirflowStand, answer: str) -> None:
    name = f"approval-{answer.lower()}"
    drop(airflow_stand, name, APPROVAL.format(name=name))
    airflow_stand.wait_for_dag(name)
    run = airflow_stand.api.trigger(name)
    until(
        lambda: states(airflow_stand, run).get("gate") in ("awaiting_input", "deferred"),
        lambda: f"{states(airflow_stand, run)}",
        60,
    )
    path = f"/dags/{name}/dagRuns/{run.run_id}/taskInstances/gate/-1/hitlDetails"
    asked = airflow_stand.api.request("GET", path)
    assert (asked["subject"], asked["body"]) == ("May a draft go out?", "**a draft**")
    # Airflow takes an answer for a crash that comes before its executor tells that the task has parked.
    time.sleep(2)
    given = {"chosen_options": [answer], "params_input": {"comment": "well written"}}
    airflow_stand.api.request("PATCH", path, json=given)
    run = airflow_stand.api.wait(run, 120)
    if answer == "Approve":
        assert run.state == "success"
        outputs = airflow_stand.api.xcom(run, "workflow_outputs")
        assert outputs["sent"] == "sent, well written (true)"
        assert outputs["by"]
    else:
        assert (run.state, states(airflow_stand, run)["send"]) == ("failed", "upstream_failed")
        record = airflow_stand.api.xcom(run, "gate", "step")
        assert record["error"].startswith("ApprovalRejected: ")
        assert record["error"].endswith("rejected 'May a draft go out?': well written")


def test_a_person_lets_a_run_spend_more(airflow_stand: AirflowStand) -> None:
    name, api = "run-without-money", airflow_stand.api
    drop(
        airflow_stand,
        name,
        f"""
        name: {name}
        steps:
          - {{id: ask, {LLM}, prompt: alone}}
          - id: each
            type: orchestrator:fan-out
            items: [1, 2, 3]
            task_template: {{{LLM}, prompt: "many {{{{ item }}}}"}}
            depends_on: [ask]
        """,
    )
    airflow_stand.wait_for_dag(name)
    run = api.trigger(name)
    until(lambda: states(airflow_stand, run).get("ask") == "awaiting_input", lambda: f"{states(airflow_stand, run)}")
    path = f"/dags/{name}/dagRuns/{run.run_id}/taskInstances/ask/-1/hitlDetails"
    assert "spend more than the budget 'nearly nothing' has?" in api.request("GET", path)["subject"]
    time.sleep(2)
    api.request("PATCH", path, json={"chosen_options": ["Approve"], "params_input": {}})
    # The steps behind it are of the same run, and nobody is asked again.
    run = api.wait(run, 120)
    assert run.state == "success", log_text(airflow_stand, run)
    assert api.xcom(run, "each", "llm_usage")["calls"] == 3


def test_a_fan_out_as_a_batch(airflow_stand: AirflowStand) -> None:
    api = airflow_stand.api
    drop(
        airflow_stand,
        "batched",
        """
        name: batched
        steps:
          - id: each
            type: orchestrator:fan-out
            items:
              - {model: gpt-4o-mini, say: one}
              - {model: missing-model, say: two}
              - {model: gpt-4o-mini, say: three}
              - {model: gpt-4o-mini, say: nothing}
            on_item_error: "null"
            task_template:
              provider: openai
              model: "{{ item.model }}"
              prompt: "batched {{ item.say }}"
              condition: item.say != 'nothing'
            output: [answers, errors, count]
            airflow: {lane: batch}
        outputs: {answers: "{{ answers }}", errors: "{{ errors }}", count: "{{ count }}"}
        """,
    )
    run = airflow_stand.run("batched", timeout=240)
    assert run.state == "success", log_text(airflow_stand, run)
    outputs = api.xcom(run, "workflow_outputs")
    one, two, three = outputs["answers"]
    assert ("batched one" in one, two, "batched three" in three) == (True, None, True)
    assert outputs["count"] == {"total": 4, "completed": 2, "failed": 1, "skipped": 1}
    [error] = outputs["errors"]
    assert (error["index"], "ModelNotFound" in error["error"]) == (1, True)
    [batch] = api.xcom(run, "each", "batches")
    assert batch["questions"] == 3
    usage = api.xcom(run, "each", "llm_usage")
    assert usage["calls"] == 2
    usual = cost_usd("openai", "gpt-4o-mini", Usage(usage["input_tokens"], usage["output_tokens"]))
    assert usage["cost_usd"] == pytest.approx((usual or 0) / 2)


def test_an_event_starts_a_run_once(airflow_stand: AirflowStand) -> None:
    path = drop(
        airflow_stand,
        "on-ticket",
        """
        apiVersion: orchestrator.llm/v1
        kind: EventWorkflow
        metadata: {name: on-ticket}
        spec:
          trigger: {eventSource: tickets, eventType: opened}
          inputs: [{name: text, type: string, required: true, source: event.data.text}]
          tasks: [{id: a, executor: "llm-forge:text-transform", inputs: {prompt: "${{ inputs.text }}"}}]
          outputs: {a: "${{ tasks.a.outputs.text }}"}
        """,
    )
    airflow_stand.wait_for_dag("on-ticket")
    environment = {
        **airflow_stand.environment,
        "AIRFLOW_API_URL": airflow_stand.api.url,
        "AIRFLOW_API_USERNAME": USER,
        "AIRFLOW_API_PASSWORD": airflow_stand.stand.home.password(),
    }
    command = [
        sys.executable, "-m", "airflow_llm_provider.cli", "event", "send", str(path), "--source", "tickets", "--type", "opened",
        "--id", "t1", "--data", '{"text": "broken"}',
    ]  # fmt: skip
    for told in ("started", "was started before"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == (f"on-ticket: {told} (event__t1)\n", "")
    run = airflow_stand.api.wait(airflow_stand.api.dag_run("on-ticket", "event__t1"), 120)
    assert run.state == "success"
    assert airflow_stand.api.xcom(run, "workflow_outputs") == {"a": "broken"}
