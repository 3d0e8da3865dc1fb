"""`json-transform`: select, build, check; in the file and in a run."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest

from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from dag_factory import read_text

ORDER = {"id": 7, "lines": [{"sku": "a", "n": 2}, {"sku": "b"}], "to": {"city": "Bonn"}}


def file(inputs: str) -> str:
    return f"""\
apiVersion: orchestrator.llm/v1
kind: Workflow
metadata: {{name: orders}}
spec:
  inputs: [order]
  tasks:
    - id: shape
      type: transform
      executor: llm-forge:json-transform
      inputs:
{textwrap.indent(textwrap.dedent(inputs).strip(), "        ")}
      outputs: {{shaped: object}}
  outputs:
    shaped: {{value: "${{{{ tasks.shape.outputs.shaped }}}}"}}
"""


async def run(inputs: str, order: Any) -> Any:
    """Give the result of the task, or what it failed with."""
    read = read_text("orders.yaml", file(inputs))
    assert not read.errors
    async with Runtime(settings=Settings()) as runtime:
        result = await run_workflow(read.workflows[0], {"order": order}, runtime)
    step = result.steps["shape"]
    return result.outputs["shaped"] if step.error is None else step.error


INPUT = "input: ${{ inputs.order }}\n"


@pytest.mark.parametrize(
    ("inputs", "result"),
    [
        (INPUT + "path: $.to.city", "Bonn"),
        ("data: ${{ inputs.order }}\npath: $.lines[*].sku", ["a", "b"]),
        (INPUT + "path: $.lines[*].n\nfirst: true", 2),
        (INPUT + "path: $.lines[*].x\nfirst: true\ndefault: 0", 0),
        (INPUT + "path: $.lines[*].x", []),
        (INPUT + "path: $.lines[{{ inputs.order.lines.0.n }}]", None),
        (
            INPUT
            + "mapping: {number: $.id, skus: '$.lines[*].sku', to: {city: $.to.city, zip: $.to.zip}, v: [1, $.id]}",
            {"number": 7, "skus": ["a", "b"], "to": {"city": "Bonn", "zip": None}, "v": [1, 7]},
        ),
        # one object for each value that a path to many finds; in a filter, `$` is that value
        (
            INPUT + "path: $.lines[*]\ntemplate: {sku: $.sku, same: '$[?@ == $.sku]'}",
            [{"sku": "a", "same": ["a"]}, {"sku": "b", "same": ["b"]}],
        ),
        (INPUT + "path: $.lines\nmapping: {first: '$[0].sku'}", {"first": "a"}),
        (INPUT + "path: $.lines[*]\nfirst: true\nmapping: {n: $.n}", {"n": 2}),
        (INPUT + "path: $.missing\nmapping: {n: $.n}", {"n": None}),
        (INPUT + "path: $.id\nschema: {type: integer, minimum: 7}", 7),
        (INPUT + "schema: {$defs: {id: {type: integer}}, properties: {id: {$ref: '#/$defs/id'}}}", ORDER),
        # values to be filled in go into the input; a text there is never a path
        (
            "input: {order: '${{ inputs.order.id }}', note: '$.order'}\nmapping: {order: $.order, note: $.note}",
            {"order": 7, "note": "$.order"},
        ),
    ],
)
async def test_results(inputs: str, result: Any) -> None:
    assert await run(inputs, ORDER) == result


async def test_a_text_is_read_as_json() -> None:
    assert await run(INPUT + "path: $.to.city", f"```json\n{json.dumps(ORDER)}\n```") == "Bonn"


@pytest.mark.parametrize(
    ("inputs", "order", "error"),
    [
        (
            INPUT + "path: $.a",
            "sorry, no",
            "InvalidOutput: not JSON: Expecting value: line 1 column 1 (char 0); the text begins 'sorry, no'",
        ),
        (
            INPUT + "schema: {required: [id], properties: {lines: {items: {required: [n]}}, to: {type: array}}}",
            {"lines": [{"n": 1}, {}, {}], "to": 5},
            "InvalidOutput: the result does not meet its schema: $: 'id' is a required property; "
            "$.lines[1]: 'n' is a required property; $.lines[2]: 'n' is a required property; "
            "$.to: 5 is not of type 'array'",
        ),
        (
            INPUT + "schema: {$ref: 'http://127.0.0.1:9/schema.json'}",
            {},
            "InvalidRequest: the schema refers to 'http://127.0.0.1:9/schema.json', which is not in it",
        ),
        (
            INPUT + "schema: {$ref: '#'}",
            {},
            "InvalidRequest: the schema refers to itself without end, or the value is nested too deep",
        ),
        (
            INPUT + "path: '{{ inputs.order }}'",
            "[]",
            "InvalidRequest: the step's inputs do not fit once resolved: path: Value error, "
            "'[]' is no JSONPath: one begins with '$', as in '$.items[0].name'",
        ),
    ],
)
async def test_failures(inputs: str, order: Any, error: str) -> None:
    assert await run(inputs, order) == error


async def test_only_the_first_misfits_are_listed() -> None:
    error = await run(INPUT + "schema: {items: {type: integer}}", ["x" * 1_000] * 1_000)
    assert error.count("x…") + error.count("'xxx") == 20
    assert error.endswith("; and 980 more")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("input: {}", "give at least one of 'path', 'mapping' and 'schema'"),
        ("path: $.a", "give exactly one of 'input' and 'data'"),
        ("{input: {}, data: {}, path: $.a}", "give exactly one of 'input' and 'data'"),
        ("{input: {}, mapping: {}, template: {}}", "'mapping' and 'template' mean the same; give one"),
        ("{input: {}, schema: {}, first: true}", "'first' and 'default' are about what 'path' finds; add 'path'"),
        ("{input: {}, path: '$.a['}", "'path': '$.a[' is no JSONPath: unbalanced brackets at character 5"),
        (
            "{input: {}, mapping: {a: $.a, b: [b.c], d: '{{ inputs.order }}', e: '$.'}}",
            "'mapping': b.0: 'b.c' is no JSONPath: one begins with '$', as in '$.items[0].name'; "
            "e: '$.' is no JSONPath: unexpected end of expression at character 3",
        ),
        (
            "{input: {}, schema: {properties: {a: {type: text}}}}",
            "'schema': this is no JSON Schema: $.properties.a.type: 'text' is not valid under any of the given schemas",
        ),
        ("{input: {}, pth: $.a}", "unknown key 'pth'; did you mean 'path'?"),
    ],
)
def test_what_is_wrong_in_the_file(inputs: str, message: str) -> None:
    messages = [str(error).split(": ", 1)[1] for error in read_text("orders.yaml", file(inputs)).errors]
    assert message in messages


def test_the_path_of_a_transform_is_checked_in_the_file() -> None:
    [error] = read_text(
        "w.yaml",
        "name: w\nsteps:\n  - {id: a, type: transform, function: json_path, inputs: ['{}'], path: a.b}\n",
    ).errors
    assert str(error) == ("w.yaml:3:73: 'path': 'a.b' is no JSONPath: one begins with '$', as in '$.items[0].name'")
