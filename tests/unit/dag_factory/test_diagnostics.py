"""The exact words for everything that can be wrong with a workflow file."""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from dag_factory import read_text


@dataclass(frozen=True)
class Case:
    """A file and what is said of it."""

    name: str
    text: str


STEP = "steps:\n  - {id: a, type: llm, provider: openai, model: m, prompt: p}\n"
SPEC = "spec: {tasks: [{id: a, executor: action, inputs: {action: x}}]}\n"

CASES = [
    Case("empty", ""),
    Case("not a mapping", "- a\n- b\n"),
    Case("broken YAML", "name: x\nsteps: [\n"),
    Case("tab", "name: x\n\tsteps: 1\n"),
    Case("key given twice", "name: x\nname: y\n" + STEP),
    Case("no steps", "name: x\n"),
    Case("empty steps", "name: x\nsteps: []\n"),
    Case("no name", STEP),
    Case("unknown key", "nmae: x\nname: y\n" + STEP),
    Case("unknown key of a step", "name: x\nsteps:\n  - {id: a, provider: o, model: m, promt: p}\n"),
    Case(
        "several at once",
        """\
        name: x
        steps:
          - id: a
            type: llm
            provider: openai
            model: gpt-4
            prompt: "{{ steps.b.output }} {{ steps.zz.output }}"
            temperature: 3
          - id: b
            type: transfrom
            inputs: [a]
          - id: c
            type: llm
            provider: openai
            model: gpt-4
            prompt: hello
            max_tokens: many
            depends_on: [a, bb]
        """,
    ),
    Case("unknown type", "name: x\nsteps:\n  - {id: a, type: llm_call, prompt: p}\n"),
    Case("no prompt", "name: x\nsteps:\n  - {id: a, provider: o, model: m}\n"),
    Case("no model", "name: x\nsteps:\n  - {id: a, provider: o, prompt: p}\n"),
    Case("wrong type", "name: x\nsteps:\n  - {id: a, provider: o, model: m, prompt: p, max_tokens: hot}\n"),
    Case("out of range", "name: x\nsteps:\n  - {id: a, provider: o, model: m, prompt: p, temperature: 2.5}\n"),
    Case(
        "too many outputs",
        "name: x\nsteps:\n  - {id: a, type: action, action: log, message: m, output: [r, s]}\n",
    ),
    Case("no duration", "name: x\ntimeout_seconds: soon\n" + STEP),
    Case("retry", "name: x\nsteps:\n  - {id: a, provider: o, model: m, prompt: p, retry: {max_atempts: 3}}\n"),
    Case(
        "duplicate id",
        "name: x\nsteps:\n  - {id: a, type: action, action: x}\n  - {id: a, type: action, action: x}\n",
    ),
    Case(
        "ids that collide in Airflow",
        "name: x\nsteps:\n  - {id: a b, type: action, action: x}\n  - {id: a-b, type: action, action: x}\n",
    ),
    Case(
        "cycle",
        """\
        name: x
        steps:
          - {id: a, type: action, action: x, depends_on: [c]}
          - {id: b, type: action, action: x, depends_on: [a]}
          - {id: c, type: action, action: log, message: "{{ steps.b.output }}"}
        """,
    ),
    Case(
        "own result",
        'name: x\nsteps:\n  - {id: a, type: action, action: log, message: "{{ steps.a.output }}"}\n',
    ),
    Case(
        "unknown output",
        """\
        name: x
        steps:
          - {id: a, provider: openai, model: m, prompt: p, output: [answer]}
          - {id: b, provider: openai, model: m, prompt: "{{ steps.a.anwser }}"}
        """,
    ),
    Case(
        "undeclared input",
        'name: x\ninputs: {text: {type: string}}\nsteps:\n  - {id: a, type: action, action: log, message: "{{ inputs.txt }}"}\n',
    ),
    Case(
        "expression",
        'name: x\nsteps:\n  - {id: a, type: action, action: x, condition: "${{ 1 + }}"}\n',
    ),
    Case(
        "unknown function",
        "name: x\nsteps:\n  - id: a\n    type: action\n    action: log\n    message: |\n      one\n      ${{ uper(inputs.x) }}\n",
    ),
    Case("template", 'name: x\nsteps:\n  - {id: a, type: action, action: log, message: "{{#if x}}y"}\n'),
    Case(
        "transform settings",
        "name: x\nsteps:\n  - {id: a, type: transform, function: truncate, inputs: [t], separator: x}\n",
    ),
    Case(
        "unknown function of a transform",
        "name: x\nsteps:\n  - {id: a, type: transform, function: mrege, inputs: [t]}\n",
    ),
    Case(
        "v1 kind",
        "apiVersion: orchestrator.llm/v1\nkind: Workflw\nmetadata: {name: x}\n" + SPEC,
    ),
    Case(
        "v1 version",
        "apiVersion: orchestrator.llm/v2\nkind: Workflow\nmetadata: {name: x}\n" + SPEC,
    ),
    Case(
        "v1 everything",
        """\
        apiVersion: orchestrator.llm/v1
        kind: Workflow
        metadata:
          nam: x
        spec:
          inputs:
            - {name: q, type: strng}
          tasks:
            - id: a b
              type: llm
              executor: llm-forge:claude-api
              inputs:
                prompt: ${{ workflow.inputs.p }}
                config: {temprature: 1}
              dependson: [b]
            - id: b
              type: llm
              executor: llm-frge:claude-api
        """,
    ),
    Case(
        "v1 outputs",
        """\
        apiVersion: orchestrator.llm/v1
        kind: Workflow
        metadata: {name: x}
        spec:
          tasks:
            - id: a
              executor: llm-forge:claude-api
              inputs: {prompt: p}
              outputs: {answer: string, reason: string}
          outputs:
            r: {value: "${{ tasks.a.outputs.resaon }}"}
        """,
    ),
]


SNAPSHOT = Path(__file__).with_name("diagnostics.txt")
"""What is said of each case; ``UPDATE_SNAPSHOTS=1 pytest …`` writes it anew, to be read before it is committed."""


def expected() -> dict[str, str]:
    """Give case name to messages."""
    parts = re.split(r"^## (.*)\n", SNAPSHOT.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def messages(case: Case) -> str:
    """Give what is said of a case."""
    return "".join(f"{item}\n" for item in read_text("w.yaml", textwrap.dedent(case.text)).diagnostics)


if os.environ.get("UPDATE_SNAPSHOTS"):
    SNAPSHOT.write_text("".join(f"## {case.name}\n{messages(case)}" for case in CASES))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_message(case: Case) -> None:
    assert messages(case) == expected()[case.name]


def test_the_excerpt_points_at_the_column() -> None:
    [problem] = read_text("w.yaml", "name: x\nsteps:\n  - {id: a, provider: o, model: m, promt: p}\n").diagnostics
    assert problem.excerpt() == (
        "w.yaml:3:36: unknown key 'promt'; did you mean 'prompt'?\n"
        "      - {id: a, provider: o, model: m, promt: p}\n"
        "                                       ^"
    )
