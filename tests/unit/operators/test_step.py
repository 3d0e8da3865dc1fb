"""The operators, run by hand with a minimal context."""

from __future__ import annotations

import textwrap
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from airflow_llm_provider.operators.step import WorkflowOutputsOperator, WorkflowStepOperator
from dag_factory import read_text
from dag_factory.compile import to_dag

pytestmark = pytest.mark.filterwarnings("ignore:.*cannot be called outside.*")


instance_states: dict[str, str | None] = {}
"""Task id to what Airflow says of its state."""


class TaskInstance:
    """Keeps XComs of one run in memory."""

    def __init__(self, xcoms: dict[tuple[str, str], Any], task_id: str) -> None:
        self.xcoms, self.task_id = xcoms, task_id

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[self.task_id, key] = value

    dag_id = "x"
    try_number = 1
    max_tries = 0
    run_id = "r"

    def get_task_states(
        self, *, dag_id: str, run_ids: list[str], task_ids: list[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        return {
            run_id: {task_id: instance_states.get(task_id) for task_id in task_ids or instance_states}
            for run_id in run_ids
        }

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        return self.xcoms.get((task_ids, key))


def execute(text: str, task_id: str, params: dict[str, Any], xcoms: dict[tuple[str, str], Any]) -> Any:
    """Render and execute one task; gives the operator and what it returned."""
    [workflow] = read_text("w.yaml", textwrap.dedent(text)).workflows
    operator = to_dag(workflow).get_task(task_id)
    assert isinstance(operator, (WorkflowStepOperator, WorkflowOutputsOperator))
    run = SimpleNamespace(run_id="r", run_after=datetime(2026, 1, 1, tzinfo=timezone.utc), triggering_user_name="ann")
    context: Any = {"ti": TaskInstance(xcoms, task_id), "dag_run": run, "params": params}
    operator.render_template_fields(context)
    return operator, operator.execute(context)


LLM = "type: llm, provider: scripted, model: m"


def test_the_fields_show_what_was_asked() -> None:
    text = f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: 'about {{{{ inputs.t }}}}', system: be brief, temperature: 0.5}}\n"
    xcoms: dict[tuple[str, str], Any] = {}
    operator, returned = execute(text, "a", {"t": "{{ ds }}"}, xcoms)
    assert (operator.prompt, operator.system) == ("about {{ ds }}", "be brief")
    assert operator.parameters == {"provider": "scripted", "model": "m", "temperature": 0.5}
    assert returned["output"].endswith("about {{ ds }}")
    assert xcoms["a", "llm_usage"]["attempts"] == 1
    assert xcoms["a", "step"]["config"] == {"provider": "scripted", "model": "m", "temperature": 0.5}


def test_a_false_condition_skips() -> None:
    text = f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: '{{{{ upper(inputs.t) }}}}', condition: '{{{{ inputs.go }}}}'}}\n"
    text = text.replace("{{ upper(inputs.t) }}", "${{ upper(inputs.t) }}")
    with pytest.raises(AirflowSkipException, match="step 'a' is not wanted: "):
        execute(text, "a", {"go": False, "t": [1]}, {})


def test_what_cannot_be_resolved_fails_the_step_with_a_record() -> None:
    text = f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: '${{{{ upper(inputs.t) }}}}'}}\n"
    xcoms: dict[tuple[str, str], Any] = {}
    with pytest.raises(AirflowException, match="step 'a' failed: ExpressionError: 'upper' needs text"):
        execute(text, "a", {"t": [1]}, xcoms)
    assert xcoms["a", "step"]["state"] == "failed"


def test_wrong_inputs_fail_before_anything_is_asked() -> None:
    text = f"name: x\ninputs: [{{name: n, type: integer, required: true}}]\nsteps:\n  - {{id: a, {LLM}, prompt: p}}\n"
    with pytest.raises(
        Exception, match="workflow 'x' cannot start with these inputs: n: 'many' is not of type 'integer'"
    ):
        execute(text, "a", {"n": "many"}, {})


def test_references_are_pulled_from_xcom() -> None:
    text = f"""
        name: x
        steps:
          - {{id: a b, {LLM}, prompt: p, output: [words]}}
          - {{id: c, type: transform, function: concat, inputs: ["{{{{ words }}}}/${{{{ tasks['a b'].attempts }}}}"]}}
        outputs:
          all: ${{{{ steps.c.output }}}}
    """
    xcoms: dict[tuple[str, str], Any] = {
        ("a-b", "return_value"): {"words": "hello"},
        ("a-b", "step"): {"state": "completed", "attempts": 2},
    }
    _, returned = execute(text, "c", {}, xcoms)
    assert returned == {"output": "hello/2"}
    xcoms["c", "return_value"] = returned
    assert execute(text, "workflow_outputs", {}, xcoms)[1] == {"all": "hello/2"}


@pytest.mark.parametrize(
    ("kind", "final"), [("AuthenticationError", True), ("ModelNotFound", True), ("RateLimitError", False)]
)
def test_what_can_never_succeed_is_not_tried_again_by_airflow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, final: bool
) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(f"- {{match: p, error: {{type: {kind}}}}}\n")
    monkeypatch.setenv("LLM_SCRIPT", str(script))
    with pytest.raises(AirflowException, match=kind) as caught:
        execute(f"name: x\nsteps:\n  - {{id: a, {LLM}, prompt: p, retry: {{max_attempts: 1}}}}\n", "a", {}, {})
    assert isinstance(caught.value, AirflowFailException) is final


def test_the_state_of_a_task_that_left_no_record_is_airflows() -> None:
    text = (
        "name: x\nsteps:\n  - {id: a, type: action, action: log, message: m}\n"
        "  - {id: b, type: action, action: log, message: '{{ tasks.a.state }}'}\n"
    )
    for state, shown in (
        ("failed", "failed"),
        ("skipped", "skipped"),
        ("upstream_failed", "pending"),
        (None, "pending"),
    ):
        instance_states["a"] = state
        _, returned = execute(text, "b", {}, {})
        assert returned == {"output": {"action": "log", "message": shown}}
