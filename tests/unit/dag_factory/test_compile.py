"""The DAG that a workflow becomes."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_llm_provider.workflow.model import Workflow
from dag_factory import WorkflowErrors, load_dags, raise_errors, read_text
from dag_factory.compile import to_dag
from tests.conftest import EXAMPLES, WORKFLOWS


def compiled(text: str) -> DAG:
    result = read_text("w.yaml", textwrap.dedent(text))
    assert not result.errors, "\n".join(map(str, result.errors))
    [workflow] = result.workflows
    assert isinstance(workflow, Workflow)
    return to_dag(workflow)


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, other) for task in dag.tasks for other in task.downstream_task_ids}


def test_steps_become_tasks_with_explicit_and_implied_edges() -> None:
    dag = compiled((WORKFLOWS / "sentiment-analysis.yaml").read_text())
    assert edges(dag) == {
        ("classify", "respond"),
        ("classify", "log_result"),
        ("respond", "log_result"),
        ("log_result", "workflow_outputs"),
    }
    assert {task.task_id: task.trigger_rule for task in dag.tasks} == {
        "classify": "all_success",
        "respond": "none_failed_min_one_success",
        "log_result": "none_failed_min_one_success",
        "workflow_outputs": "none_failed",
    }


def test_settings_reach_airflow() -> None:
    dag = compiled(
        """
        name: My workflow!
        description: About it.
        timeout_seconds: 5m
        max_parallel: 3
        labels: {team: data}
        airflow:
          schedule: "0 6 * * *"
          timezone: Europe/Berlin
          tags: [nightly]
          owner: ann
          max_active_runs: 2
          retries: 1
          retry_delay: 30s
        steps:
          - id: first step
            type: action
            action: log
            message: hello
            airflow: {pool: slow, priority_weight: 5, owner: bob}
          - {id: second, type: action, action: log, message: bye}
        """
    )
    assert dag.dag_id == "My-workflow"
    assert dag.dagrun_timeout.total_seconds() == 300  # type: ignore[union-attr]
    assert (dag.max_active_tasks, dag.max_active_runs, dag.catchup) == (3, 2, False)
    assert dag.tags == {"llm", "nightly", "data"}
    assert str(dag.timezone) == "Europe/Berlin"
    first, second = dag.get_task("first-step"), dag.get_task("second")
    assert (first.pool, first.priority_weight, first.owner, first.retries) == ("slow", 5, "bob", 1)
    assert (second.owner, second.retry_delay.total_seconds()) == ("ann", 30)


def test_inputs_become_params() -> None:
    dag = compiled(
        """
        name: x
        inputs:
          - {name: text, type: string, required: true, description: What to read.}
          - {name: count, type: integer, default: 3, minimum: 1}
          - {name: mood, type: string, enum: [good, bad]}
          - {name: anything}
        steps:
          - {id: a, type: action, action: log, message: "{{ inputs.text }}"}
        """
    )
    params = {name: dag.params.get_param(name) for name in dag.params}
    assert params["text"].schema == {"type": "string"}
    assert (params["text"].description, params["text"].has_value) == ("What to read.", False)
    assert (params["count"].value, params["count"].schema) == (3, {"minimum": 1, "type": "integer"})
    assert params["mood"].schema == {"enum": ["good", "bad", None], "type": ["string", "null"]}
    assert params["anything"].value is None


def test_free_names_are_optional_inputs() -> None:
    dag = compiled('name: x\nsteps:\n  - {id: a, type: action, action: log, message: "{{ inputs.b }} {{ a_name }}"}\n')
    assert [*dag.params] == ["b", "a_name"]


def test_the_documentation_holds_the_file() -> None:
    text = "name: x\ndescription: With ``` in it.\nsteps:\n  - {id: a, type: action, action: log, message: m}\n"
    assert f"````yaml\n{text}````" in compiled(text).doc_md  # type: ignore[operator]


def test_a_dag_survives_serialization_and_holds_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    for path in EXAMPLES:
        serialized = json.dumps(DagSerialization.to_dict(compiled(path.read_text())))
        assert "sk-from-the-environment" not in serialized


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        (tmp_path / f"{number}.yaml").write_text(
            f"name: flow {number}\nsteps:\n  - {{id: a, type: action, action: log, message: m}}\n"
        )
    (tmp_path / "bad.yaml").write_text("name: bad\nsteps: 1\n")
    (tmp_path / "0.input.json").write_text("{}")
    return tmp_path


def test_a_folder_gives_its_healthy_dags(folder: Path) -> None:
    assert [*load_dags(folder)] == ["flow-0", "flow-1", "flow-2"]


def test_a_task_process_builds_only_its_own_dag(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "flow-1")
    assert [*load_dags(folder)] == ["flow-1"]
    raise_errors(folder)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "no-such")
    assert load_dags(folder) == {}


def test_a_name_with_escapes_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text('name: "\\x66low"\nsteps:\n  - {id: a, type: action, action: log, message: m}\n')
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "flow")
    assert [*load_dags(tmp_path)] == ["flow"]


def test_errors_are_raised_as_one(folder: Path) -> None:
    with pytest.raises(WorkflowErrors) as caught:
        raise_errors(folder)
    assert str(caught.value).startswith(f"1 error in 1 workflow file:\n\n{folder}/bad.yaml:2:8: ")


def test_a_name_used_twice_is_an_error_and_the_first_runs(folder: Path) -> None:
    (folder / "9.yaml").write_text((folder / "1.yaml").read_text())
    assert [*load_dags(folder)] == ["flow-0", "flow-1", "flow-2"]
    with pytest.raises(
        WorkflowErrors, match=r"9\.yaml:1:7: the name 'flow 1' is taken by .*1\.yaml; give each workflow"
    ):
        raise_errors(folder)


def test_the_pod_of_a_task() -> None:
    dag = compiled("""
        name: pods
        airflow: {pod: {cpu: 0.5, memory: 1Gi, labels: {team: web}}}
        steps:
          - id: a
            type: transform
            function: template
            template: x
            airflow: {pod: {memory: 2Gi, tolerations: [{key: gpu, operator: Exists}]}}
        outputs: {a: "{{ steps.a }}"}
        """)
    dag = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    own, whole = (dag.get_task(name).executor_config["pod_override"] for name in ("a", "workflow_outputs"))
    assert own.spec.containers[0].name == "base"
    assert own.spec.containers[0].resources.requests == {"cpu": "0.5", "memory": "2Gi"}
    assert own.spec.tolerations[0].key == "gpu"
    assert own.metadata.labels == whole.metadata.labels == {"team": "web"}
    assert whole.spec.containers[0].resources.requests == {"cpu": "0.5", "memory": "1Gi"}


def test_a_pod_needs_the_kubernetes_client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pods.yaml").write_text(
        "name: pods\nsteps:\n  - {id: a, type: transform, function: template, template: x, airflow: {pod: {cpu: 1}}}\n"
    )
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    assert "pods" not in load_dags(folder)
    with pytest.raises(WorkflowErrors, match=r"install airflow-llm-provider\[kubernetes\]"):
        raise_errors(folder)


def test_a_workflow_that_airflow_refuses_takes_no_other_with_it(folder: Path) -> None:
    (folder / "bad.yaml").unlink()
    (folder / "scheduled.yaml").write_text(
        "name: scheduled\nairflow: {executor: NoSuchExecutor}\n"
        "steps:\n  - {id: a, type: action, action: log, message: m}\n"
    )
    assert [*load_dags(folder)] == ["flow-0", "flow-1", "flow-2"]
    with pytest.raises(WorkflowErrors, match=r"scheduled\.yaml:2:10: Airflow cannot make a DAG of 'scheduled'"):
        raise_errors(folder)


def test_a_file_that_happens_to_hold_the_words_hides_no_dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "steps:\n  - {id: a, type: action, action: log, message: caf latte}\n"
    (tmp_path / "a.yaml").write_text(f"name: other\n{step}")
    (tmp_path / "b.yaml").write_text(f'name: "c\\x61f-latte"\n{step}')
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "caf-latte")
    assert [*load_dags(tmp_path)] == ["caf-latte"]


def test_an_expression_that_breaks_off_in_a_block_scalar_has_a_place() -> None:
    text = "name: x\nsteps:\n  - id: a\n    type: action\n    action: tell\n    condition: |\n      steps.a ==\n"
    assert read_text("w.yaml", text).errors


def test_a_mapped_fan_out_is_three_tasks() -> None:
    dag = compiled(
        """
        name: x
        steps:
          - {id: a, type: transform, function: template, template: x}
          - id: b
            type: orchestrator:fan-out
            items: "{{ steps.a }}"
            max_concurrency: 3
            task_template:
              {type: transform, function: template, template: "{{ item }}", airflow: {retries: 4, pool: models}}
            airflow: {lane: mapped, pool: slow, retries: 2}
          - {id: c, type: transform, function: template, template: "{{ steps.b }}"}
        """
    )
    assert edges(dag) == {("a", "b.items"), ("b.items", "b.item"), ("b.items", "b"), ("b.item", "b"), ("b", "c")}
    told = {task.task_id: (task.pool, task.retries) for task in dag.tasks if task.task_id.startswith("b")}
    assert told == {"b.items": ("slow", 4), "b.item": ("models", 4), "b": ("slow", 2)}
    item = dag.get_task("b.item")
    assert item.is_mapped
    assert item.max_active_tis_per_dagrun == 3
    # What Airflow keeps of the DAG tells a changed template, and nothing that changes by itself.
    [kept] = [
        task["__var"]["partial_kwargs"]["mapped"]
        for task in DagSerialization.to_dict(dag)["dag"]["tasks"]
        if task["__var"]["task_id"] == "b.item"
    ]
    assert kept == '{"executor": "transform", "inputs": {"function": "template", "template": "{{ item }}"}}'
