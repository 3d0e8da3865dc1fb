"""The tasks of a mapped fan-out, run by hand."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException

from tests.unit.operators.test_step import execute, instance_states

pytestmark = pytest.mark.filterwarnings("ignore:.*cannot be called outside.*")

TEXT = """
name: x
steps:
  - id: a
    type: orchestrator:fan-out
    items: "{{ inputs.items }}"
    task_template: {type: transform, function: template, template: "{{ item }}"}
    output: [results, errors, count]
    airflow: {lane: mapped}
"""


def test_more_items_than_airflow_maps_over_are_put_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    _, chunks = execute(TEXT, "a.items", {"items": [1, 2, 3, 4, 5]}, {})
    assert chunks == [{"start": 0, "items": [1, 2, 3]}, {"start": 3, "items": [4, 5]}]


def test_items_that_hold_a_secret_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_llm_provider.hooks.runtime._secret", lambda key: "s3cret")
    xcoms: dict[tuple[str, str], Any] = {}
    _, chunks = execute(TEXT.replace('"{{ inputs.items }}"', '["{{ secrets.key }}"]'), "a.items", {}, xcoms)
    assert chunks == []
    assert "the items hold a secret" in xcoms["a.items", "fan_out"]["error"]
    assert "s3cret" not in str(xcoms)


def test_an_item_whose_task_was_killed_has_failed() -> None:
    instance_states.clear()
    instance_states["a.items"] = "success"
    done = {"index": 1, "state": "completed", "error": None, "attempts": 1, "execution_time": 1.0, "usage": None}
    xcoms: dict[tuple[str, str], Any] = {
        ("a.items", "fan_out"): {"error": None, "started": 0.0, "total": 2, "on_item_error": "fail"},
        ("a.item", "items"): {"results": [{**done, "outputs": {"output": "two"}}]},
    }
    with pytest.raises(AirflowException, match=r"1 of 2 items failed, the first of them \[0\]"):
        execute(TEXT, "a", {"items": []}, xcoms)
    xcoms["a.items", "fan_out"]["on_item_error"] = "null"
    _, outputs = execute(TEXT, "a", {"items": []}, xcoms)
    assert outputs["results"] == [None, "two"]
    assert outputs["errors"] == [{"index": 0, "error": outputs["errors"][0]["error"]}]


def test_the_items_task_was_killed() -> None:
    instance_states.clear()
    instance_states["a.items"] = "failed"
    with pytest.raises(AirflowException, match=r"the task 'a\.items' ended as failed"):
        execute(TEXT, "a", {"items": []}, {})
