"""DAGs that are written in Python: the operators and the decorator."""

from __future__ import annotations

import json
import re

import httpx

from airflow_llm_provider.cli.airflow_api import DagRun
from tests.conftest import REPOSITORY
from tests.integration.airflow.conftest import AirflowStand, until

DAG = """
from airflow.sdk import DAG, task

from airflow_llm_provider.operators.executors import EmbedOperator, EvaluateOperator, LLMOperator, VectorSearchOperator

OPENAI = {"provider": "openai", "model": "gpt-4o-mini"}
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": False}

with DAG("python_authors", params={"topic": "tea {{ 1 }} ${{ inputs.x }}"}):
    ask = LLMOperator(task_id="ask", prompt="What is {{ params.topic }}?", options={"max_tokens": 100}, **OPENAI)

    @task.llm(system="Be brief.", tries=2, try_timeout="30s", **OPENAI)
    def shorter(answer):
        return "Shorter, {{ please }}: " + answer

    short = shorter(ask.output)
    person = LLMOperator(task_id="person", prompt="Who?", output_schema=PERSON, **OPENAI)
    vectors = EmbedOperator(task_id="vectors", provider="scripted", model="m", input=["a", "b"], dimensions=8)
    near = VectorSearchOperator(task_id="near", index="none", query=[1.0, 2.0])
    score = EvaluateOperator(task_id="score", response=short, metrics=["contains"], options={"settings": {"contains": ["Shorter"]}})
    wrong = LLMOperator(task_id="wrong", prompt="x", options={"tempreature": 1}, **OPENAI)
"""


def run_of(stand: AirflowStand, dag_id: str, text: str) -> DagRun:
    (stand.dags_folder / f"{dag_id}.py").write_text(text)
    until(lambda: stand.api.dag(dag_id), lambda: str(stand.api.import_errors()), 90)
    return stand.run(dag_id)


def test_the_example_of_the_docs(airflow_stand: AirflowStand) -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text()
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example
    run = run_of(airflow_stand, "reviews", example[1])
    assert run.state == "success"
    assert airflow_stand.api.xcom(run, "polite") == 1


def test_operators_and_the_decorator(airflow_stand: AirflowStand) -> None:
    api = airflow_stand.api
    run = run_of(airflow_stand, "python_authors", DAG)
    states = {task.task_id: task.state for task in api.task_instances(run)}
    assert states.pop("wrong") == "failed"
    assert set(states.values()) == {"success"}, states
    answer = api.xcom(run, "ask")
    # What a template gives is data, for Airflow and for the workflow language.
    assert "What is tea {{ 1 }} ${{ inputs.x }}?" in answer
    assert api.xcom(run, "ask", "llm_usage")["calls"] == 1
    assert api.xcom(run, "ask", "outputs")["model"] == "gpt-4o-mini"
    assert "Shorter, {{ please }}: [gpt-4o-mini" in api.xcom(run, "shorter")
    assert api.xcom(run, "person") == {"name": "name"}
    assert [len(vector) for vector in api.xcom(run, "vectors")] == [8, 8]
    assert api.xcom(run, "near") == []
    assert api.xcom(run, "score") == 1
    assert "tempreature" in api.xcom(run, "wrong", "step")["error"]


BATCH = """
from airflow.sdk import DAG

from airflow_llm_provider.operators.batch import LLMBatchOperator
from airflow_llm_provider.sensors.llm import LLMBatchSensor

with DAG("python_batch", params={"topic": "tea {{ 1 }}"}):
    ask = LLMBatchOperator(
        task_id="ask",
        provider="anthropic",
        model="claude-3-5-haiku-20241022",
        prompts=["one {{ params.topic }}", "two"],
        system="Be brief.",
        options={"max_tokens": 50},
    )
    done = LLMBatchSensor(
        task_id="done", provider="anthropic", batch_id="{{ ti.xcom_pull('ask', key='batches')[0]['id'] }}", timeout=60
    )
    ask >> done
    LLMBatchSensor(task_id="lost", provider="anthropic", batch_id="nothing", timeout=60)
"""


def test_batches(airflow_stand: AirflowStand) -> None:
    api = airflow_stand.api
    run = run_of(airflow_stand, "python_batch", BATCH)
    states = {task.task_id: task.state for task in api.task_instances(run)}
    assert states == {"ask": "success", "done": "success", "lost": "failed"}
    first, second = api.xcom(run, "ask")
    assert ("one tea {{ 1 }}" in first, "two" in second) == (True, True)
    told = api.xcom(run, "done")
    assert (told["state"], told["total"], told["succeeded"]) == ("ended", 2, 2)


SENSORS = """
from airflow.sdk import DAG

from airflow_llm_provider.sensors.llm import BudgetSensor, ModelHealthSensor

# Airflow takes a task for lost that is due again before its executor tells that it was put off; these hold their worker.
OFTEN = {"poke_interval": 1, "timeout": 60, "mode": "poke"}

with DAG("python_sensors"):
    ModelHealthSensor(task_id="healthy", provider="openai", model="gpt-4o-mini", **OFTEN)
    ModelHealthSensor(task_id="wrong", provider="opanai", model="gpt-4o-mini", **OFTEN)
    BudgetSensor(task_id="rich", budget="all of it", needed_usd=50)
    BudgetSensor(task_id="poor", budget="all of it", needed_usd=1000, poke_interval=1, timeout=1, mode="poke", soft_fail=True)
    BudgetSensor(task_id="misspelt", budget="al of it", **OFTEN)
"""


def test_sensors(airflow_stand: AirflowStand) -> None:
    api = airflow_stand.api
    faults = [{"status": 503, "match": "^ping$"}]
    httpx.post(f"{airflow_stand.simulator_url}/_simulator/faults", json=faults).raise_for_status()
    run = run_of(airflow_stand, "python_sensors", SENSORS)
    tasks = {task.task_id: task for task in api.task_instances(run)}
    states = {task_id: task.state for task_id, task in tasks.items()}
    assert states == {
        "healthy": "success",
        "wrong": "failed",
        "rich": "success",
        "poor": "skipped",
        "misspelt": "failed",
    }
    log = json.dumps(api.log(run, tasks["misspelt"]))
    assert "no budget is called 'al of it'; did you mean 'all of it'?" in log
    assert "did you mean 'openai'?" in json.dumps(api.log(run, tasks["wrong"]))
