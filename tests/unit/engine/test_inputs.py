"""What a run may be given."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_llm_provider.engine.inputs import bind_inputs
from airflow_llm_provider.errors import InvalidRequest
from dag_factory import read_text

DECLARED = """
name: x
inputs:
  - {name: n, type: integer, required: true, minimum: 1}
  - {name: kind, enum: [a, b], default: a, required: true}
  - {name: note, type: string}
  - {name: ratio, type: number, default: 0.5}
steps: [{id: s, type: action, action: log, message: m}]
"""
FREE = "name: x\nsteps: [{id: s, type: action, action: log, message: '{{ topic }}'}]\n"


def bind(text: str, **given: Any) -> dict[str, Any]:
    [workflow] = read_text("w.yaml", text).workflows
    return bind_inputs(workflow, given)


def test_defaults_are_filled_in() -> None:
    assert bind(DECLARED, n=2) == {"n": 2, "kind": "a", "note": None, "ratio": 0.5}
    assert bind(DECLARED, n=2, note=None, ratio=1) == {"n": 2, "kind": "a", "note": None, "ratio": 1}


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        bind(DECLARED, kind="c", note=5, ration=1)
    assert str(caught.value) == (
        "workflow 'x' cannot start with these inputs: kind: 'c' is not one of ['a', 'b']; n: missing; give an integer; "
        "note: 5 is not of type 'string', 'null'; ration: no such input; did you mean 'ratio'?"
    )


@pytest.mark.parametrize("value", [0, True, 1.5, "1", None])
def test_types_are_not_bent(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="n: "):
        bind(DECLARED, n=value)


def test_a_workflow_that_declares_nothing_takes_everything() -> None:
    assert bind(FREE, topic="t", more=1) == {"topic": "t", "more": 1}
    assert bind(FREE) == {"topic": None}
