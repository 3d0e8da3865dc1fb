"""The tries of a step, over the tries of its task."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, RetryAction
from airflow.sdk.exceptions import AirflowException

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.operators.executors import EmbedOperator, LLMOperator, VectorSearchOperator
from airflow_llm_provider.operators.retry_policy import StepRetryPolicy
from airflow_llm_provider.operators.tries import LONGEST_WAIT, TaskTries, TryLater
from dag_factory import read_text
from dag_factory.compile import to_dag

POSTPONED = StepResult(
    "ask", "failed", error="RateLimitError: slow down", attempts=2, usage=StepUsage("openai", "m", 3, 4), postponed=60
)


class Store:
    """Stands in for Airflow's accessor of the state store, which asks the task's supervisor."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = value

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


def context(store: Store | None, try_number: int = 1, max_tries: int = 2) -> Any:
    given = {"ti": SimpleNamespace(try_number=try_number, max_tries=max_tries)}
    return given if store is None else {**given, "task_state_store": store}


def test_what_was_tried_is_there_in_the_next_try() -> None:
    store, policy = Store(), StepRetryPolicy(0)
    tries = TaskTries.of(context(store), policy)
    assert (tries.tried, tries.spent, tries.longest_wait) == (0, None, LONGEST_WAIT)
    later = tries.later(POSTPONED, "llm")
    assert str(later) == "step 'ask' is tried again after 0:01:00: RateLimitError: slow down"
    decision = policy.evaluate(later, 1, 2, context(store))
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=60))
    again = TaskTries.of(context(store, 2), policy)
    assert (again.tried, again.spent, again.failed) == (2, POSTPONED.usage, 0)
    again.forget()
    assert store.kept == {}


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        (context(Store(), 3), StepRetryPolicy(0)),
        (context(None), StepRetryPolicy(0)),
        (context(Store()), None),
    ],
    ids=["the last try", "no state store", "no policy"],
)
def test_where_nobody_would_come_back_the_worker_waits(given: Any, policy: StepRetryPolicy | None) -> None:
    assert TaskTries.of(given, policy).longest_wait is None


def test_failures_are_told_from_waits() -> None:
    store, policy = Store(), StepRetryPolicy(1)
    failure = AirflowException("broken")
    TaskTries.of(context(store, 1, 3), policy).later(POSTPONED, "llm")
    assert not TaskTries.of(context(store, 2, 3), policy).is_last
    assert policy.evaluate(failure, 2, 3, context(store, 2, 3)).action is RetryAction.DEFAULT
    begun_anew = TaskTries.of(context(store, 3, 3), policy)
    assert (begun_anew.tried, begun_anew.failed, begun_anew.spent, begun_anew.is_last) == (0, 1, None, True)
    assert policy.evaluate(failure, 3, 3, context(store, 3, 3)).action is RetryAction.FAIL
    assert store.kept == {}


def test_a_task_without_retries_fails_at_once() -> None:
    assert StepRetryPolicy(0).evaluate(AirflowException("x"), 1, 2, context(Store())).action is RetryAction.FAIL


def test_the_tasks_that_have_it() -> None:
    ask = "type: llm, provider: openai, model: m, prompt: x"
    text = f"""
name: x
steps:
  - {{id: plain, type: transform, function: template, template: x}}
  - {{id: ask, {ask}}}
  - {{id: often, {ask}, airflow: {{retries: 2}}, retry: {{max_attempts: 5}}}}
  - {{id: once, {ask}, retry: {{max_attempts: 1}}}}
  - {{id: each, type: "orchestrator:fan-out", items: [1], task_template: {{{ask}}}}}
  - {{id: tell, type: action, action: log, message: x}}
  - {{id: mapped, type: "orchestrator:fan-out", items: [1], airflow: {{lane: mapped}}, task_template: {{{ask}}}}}
"""
    [workflow] = read_text("w.yaml", text).workflows
    dag = to_dag(workflow)
    found = {task.task_id: (task.retries, getattr(task.retry_policy, "retries", None)) for task in dag.tasks}
    assert found == {
        "plain": (2, 0),
        "ask": (2, 0),
        "often": (6, 2),
        "once": (0, None),
        "each": (2, 0),
        "mapped.items": (2, 0),
        "mapped.item": (2, 0),
        "mapped": (2, 0),
        "tell": (0, None),
    }


def test_operators_for_python_have_it_too() -> None:
    ask = LLMOperator(task_id="a", provider="openai", model="m", prompt="x", retries=1, tries=4)
    embed = EmbedOperator(task_id="b", provider="openai", model="m", input="x", retry_policy=StepRetryPolicy(7))
    search = VectorSearchOperator(task_id="c", index="i", query=[1.0])
    assert [(task.retries, getattr(task.retry_policy, "retries", None)) for task in (ask, embed, search)] == [
        (4, 1), (0, 7), (0, None),
    ]  # fmt: skip
    assert TryLater("x", timedelta(1)).wait == timedelta(1)


def test_a_mapped_task_leaves_long_waits_to_airflow_as_well() -> None:
    with DAG("mapped", schedule=None):
        mapped = LLMOperator.partial(task_id="a", provider="openai", model="m").expand(prompt=["x", "y"])
    assert (mapped.partial_kwargs["retries"], mapped.partial_kwargs["retry_policy"].retries) == (2, 0)
