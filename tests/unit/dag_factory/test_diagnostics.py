"""The exact words for everything that can be wrong with a workflow file."""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from dag_factory import read_folder, read_text


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
    Case("unknown key of a step", "name: x\nsteps:\n  - {id: a, provider: openai, model: m, promt: p}\n"),
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
    Case("no prompt", "name: x\nsteps:\n  - {id: a, provider: openai, model: m}\n"),
    Case("no model", "name: x\nsteps:\n  - {id: a, provider: openai, prompt: p}\n"),
    Case("wrong type", "name: x\nsteps:\n  - {id: a, provider: openai, model: m, prompt: p, max_tokens: hot}\n"),
    Case("out of range", "name: x\nsteps:\n  - {id: a, provider: openai, model: m, prompt: p, temperature: 2.5}\n"),
    Case(
        "too many outputs",
        "name: x\nsteps:\n  - {id: a, type: action, action: log, message: m, output: [r, s]}\n",
    ),
    Case(
        "from",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\n"
        "spec: {tasks: [{id: a, executor: action, inputs: {action: x}, outputs: {b: {from: reslt}}}]}\n",
    ),
    Case(
        "two names for one output",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\n"
        "spec: {tasks: [{id: a, executor: action, inputs: {action: x}, outputs: {b: {from: result}, c: any}}]}\n",
    ),
    Case(
        "after",
        "name: x\nsteps:\n  - {id: a, type: action, action: x}\n  - {id: b, type: action, action: x, after: [aa]}\n",
    ),
    Case("when", "name: x\nsteps:\n  - {id: a, type: 'orchestrator:assert', condition: 1 > 0, when: [a]}\n"),
    Case("output", "name: x\nsteps:\n  - {id: a, type: action, action: x, output: {}}\n"),
    Case("no duration", "name: x\ntimeout_seconds: soon\n" + STEP),
    Case("retry", "name: x\nsteps:\n  - {id: a, provider: openai, model: m, prompt: p, retry: {max_atempts: 3}}\n"),
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
    Case("no cron", "name: x\nairflow: {schedule: 'every day', timezone: Mars/Base, start_date: soon}\n" + STEP),
    Case("no preset", "name: x\nairflow: {schedule: '@dayly', tags: ['" + "t" * 101 + "']}\n" + STEP),
    Case(
        "pods",
        """
        name: x
        steps:
          - {id: a, type: transform, function: template, template: x, airflow: {pod: {cpu: 0.5, memory: 128Mi, image: i}}}
          - {id: b, type: transform, function: template, template: x, airflow: {pod: {cpu: 65, memory: 257Gi}}}
          - {id: c, type: transform, function: template, template: x, airflow: {pod: {cpu: 50m, memory: 2, lables: {}}}}
          - {id: d, type: transform, function: template, template: x, airflow: {pod: {cpu_limit: many, tolerations: [{op: x}]}}}
        """,
    ),
    Case("continuous", "name: x\nairflow: {schedule: '@continuous'}\n" + STEP),
    Case(
        "airflow in v1",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\nspec:\n  airflow: {retries: -1}\n"
        "  tasks: [{id: a, executor: action, inputs: {action: x}, airflow: {trigger_rule: al_done, retry_delay: 2d}}]\n",
    ),
    Case(
        "limits of a mapped fan-out",
        """
        name: x
        steps:
          - id: a
            type: orchestrator:fan-out
            items: []
            timeout_seconds: 5
            task_template: {type: transform, function: template, template: x}
            airflow: {lane: mapped}
        """,
    ),
    Case(
        "lanes",
        """\
        name: x
        steps:
          - {id: a, type: transform, function: template, template: x, airflow: {lane: mapped}}
          - {id: b, type: "orchestrator:fan-out", items: [], task_template: {type: action, action: x}, airflow: {lane: maped}}
          - id: c
            type: orchestrator:fan-out
            items: []
            max_concurrency: "{{ inputs.n }}"
            task_template: {type: transform, function: template, template: x, airflow: {lane: mapped}}
            airflow: {lane: mapped}
          - {id: c.item, type: transform, function: template, template: x}
        """,
    ),
    Case(
        "batches",
        """\
        name: x
        steps:
          - id: a
            type: orchestrator:fan-out
            items: []
            task_template: {type: transform, function: template, template: x}
            airflow: {lane: batch}
          - id: b
            type: orchestrator:fan-out
            items: []
            task_template: {provider: cohere, model: m, prompt: x}
            airflow: {lane: batch}
        """,
    ),
    Case(
        "an event workflow with a schedule",
        "apiVersion: orchestrator.llm/v1\nkind: EventWorkflow\nmetadata: {name: x}\nspec:\n  airflow: {schedule: '@daily'}\n"
        "  trigger: {eventSource: s}\n  tasks: [{id: a, executor: action, inputs: {action: x}}]\n",
    ),
    Case(
        "schedule without defaults",
        "name: x\nairflow: {schedule: '@daily'}\ninputs: [{name: n, required: true}, m]\n" + STEP,
    ),
    Case(
        "too long and too short",
        "name: x\ntimeout_seconds: 1e30\n" + STEP.replace("prompt: p", "prompt: p, timeout_seconds: 0"),
    ),
    Case("ids too long", "name: " + "n" * 251 + "\n" + STEP.replace("id: a", "id: " + "i" * 251)),
    Case(
        "inputs",
        """\
        name: x
        inputs:
          - {name: a, type: integer, default: many}
          - {name: b, enum: [x, y], default: z}
          - {name: c, pattern: "("}
          - {name: d, minLenght: 1}
          - d
          - {name: d, minLength: -1}
          - 5
          - {type: string}
          - {name: e, type: strin}
        steps:
          - {id: a, provider: openai, model: m, prompt: p}
        """,
    ),
    Case("inputs as a mapping", "name: x\ninputs: {a: {type: integer, default: many}, b: {enum: []}}\n" + STEP),
    Case("inputs as a text", "name: x\ninputs: a\n" + STEP),
    Case(
        "unions",
        """\
        name: x
        steps:
          - {id: a, provider: openai, model: m, prompt: p, stop: {a: 1}, condition: [1], output: {a: b}, depends_on: 5}
          - {id: b, provider: openai, model: m, messages: [{role: user, content: 5}, {role: usr, content: {a: 1}}], stop: [1]}
        """,
    ),
    Case(
        "a list item that is no mapping",
        """\
        name: x
        steps:
          - a
          - {id: b, type: llm, provider: openai, model: m, prompt: "{{ steps.c }}", temprature: 1}
          - null
        timeout_seconds: soon
        """,
    ),
    Case(
        "no id",
        """\
        name: x
        steps:
          - {provider: openai, model: m, prompt: p, depends_on: [b]}
          - {provider: openai, model: m, prompt: "{{ steps.a }}", output: [a, b, c, d, e, f]}
        """,
    ),
    Case("unknown provider", "name: x\nsteps:\n  - {id: a, provider: antropic, model: m, prompt: p}\n"),
    Case(
        "unknown provider in the map",
        "name: x\nproviders: {fast: {type: opnai}}\n"
        "steps:\n  - {id: a, provider: fast, model: m, prompt: p}\n  - {id: b, provider: fats, model: m, prompt: p}\n",
    ),
    Case(
        "unknown provider in v1",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\nspec:\n"
        "  tasks: [{id: a, executor: 'llm-forge:clawde-api', inputs: {model: m, prompt: p}}]\n",
    ),
    Case("a number as type", "name: x\nsteps:\n  - {id: a, type: 5, prompt: p}\n"),
    Case(
        "reserved names",
        """\
        name: x
        steps:
          - id: a
            provider: openai
            model: m
            prompt: >-
              {{ system.usr }} {{ workflow.nme }} {{ secrets }} {{ steps }}
              {{ tasks.b.stat }} {{ system }}
          - {id: b, provider: openai, model: m, prompt: p}
        """,
    ),
    Case(
        "free keys",
        """\
        name: x
        x-team: a
        airflow: {x-note: b, tags: [t]}
        inputs: [{name: i, x-form: c}]
        providers: {p: {type: openai, x-y: z}}
        steps:
          - {id: a, provider: openai, model: m, prompt: p, x-why: d, retry: {max_attempts: 2, x-z: e}, airflow: {x-q: 1}}
        outputs: {o: {value: 1, x-o: 2}}
        """,
    ),
    Case(
        "prose as a condition",
        "name: x\nsteps:\n  - {id: a, type: action, action: log, message: m, condition: run this always}\n",
    ),
    Case(
        "words in conditions",
        """\
        name: x
        steps:
          - {id: a, type: action, action: log, message: "{{ kind }}", condition: kind == 'urgent'}
          - {id: b, type: action, action: log, message: m, condition: level == high}
          - {id: c, type: action, action: log, message: m, condition: "{{ level }} == high"}
        """,
    ),
    Case(
        "assert in steps",
        "name: x\nsteps:\n  - {id: a, type: 'orchestrator:assert', condition: '${{ n > 1 }}', error_message: no}\n",
    ),
    Case("assert without condition", "name: x\nsteps:\n  - {id: a, type: 'orchestrator:assert', error_message: no}\n"),
    Case("a missing value", "name: x\nsteps:\n  - {id: a, provider: openai, model: m, prompt: }\n"),
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
    Case("plaintext secret", "name: x\nmetadata: {password: hunter2}\n" + STEP),
    Case("plaintext secret in an input", "name: x\ninputs: {api_key: hunter2}\n" + STEP),
    Case("plaintext secret in a comment", "name: x # xoxb" + "-1234567890-abcdef\n" + STEP),
    Case("name used twice", "name: x\n" + STEP + "---\nname: x\n" + STEP),
    Case("alias bomb", "a: &a [1, 1]\nb: &b [" + "*a, " * 900 + "]\nc: [" + "*b, " * 900 + "]\n"),
    Case(
        "parallel without tasks",
        "name: x\nsteps:\n  - {id: p, type: parallel}\n  - {id: q, type: parallel, tasks: []}\n",
    ),
    Case(
        "parallel with what is no step",
        "name: x\nsteps:\n  - {id: p, type: parallel, tasks: [a, {type: action, action: b}], max_concurrency: 0}\n",
    ),
    Case(
        "branches of a step",
        """\
        name: x
        steps:
          - {id: a, type: branch, condition: "{{ kind }}"}
          - {id: b, type: branch, condition: "{{ kind }}", branches: {}}
          - {id: c, type: branch, branches: {x: [{id: d, type: action, action: e}]}}
          - {id: f, type: branch, condition: "{{ kind }}", branches: {left: [{id: g, type: action, action: e}]}, default: lefft}
          - {id: h, type: branch, condition: "{{ kind }}", branches: {x: y}}
        """,
    ),
    Case(
        "fan-out",
        """\
        name: x
        steps:
          - {id: a, type: "orchestrator:fan-out", items: "{{ list }}"}
          - {id: b, type: "orchestrator:fan-out", items: "{{ list }}", task_template: c}
          - {id: d, type: "orchestrator:fan-out", task_template: {type: transfrom}}
          - {id: e, type: "orchestrator:fan-out", items: [1], on_item_error: skipp, task_template: {type: action, action: b}}
        """,
    ),
    Case(
        "on_error and failure_policy",
        "name: x\nfailure_policy: failFats\nsteps:\n  - {id: a, type: action, action: b, on_error: contniue}\n"
        "  - {id: c, type: action, action: b, on_error: {defualt: 1}}\n",
    ),
    Case(
        "events",
        """\
        name: x
        steps:
          - {id: a, type: action, action: b}
        events:
          onSucess: {type: webhook, url: u}
          onFailure:
            - {type: webhok, url: u}
            - {type: custom}
            - {type: alert, executor: action}
            - {type: custom, executor: "orchestrator:asert"}
            - {type: webhook}
            - {type: deadletter, note: "{{ outputs.zz.text }}"}
        """,
    ),
    Case(
        "v1 cron without schedule",
        "apiVersion: orchestrator.llm/v1\nkind: CronWorkflow\nmetadata: {name: x}\n" + SPEC,
    ),
    Case(
        "v1 event without trigger",
        "apiVersion: orchestrator.llm/v1\nkind: EventWorkflow\nmetadata: {name: x}\n" + SPEC,
    ),
    Case(
        "v1 trigger",
        "apiVersion: orchestrator.llm/v1\nkind: EventWorkflow\nmetadata: {name: x}\nspec:\n"
        "  trigger: {evntSource: s, filter: '${{ event. }}'}\n  tasks: [{id: a, executor: action, inputs: {action: x}}]\n",
    ),
    Case(
        "v1 template",
        "apiVersion: orchestrator.llm/v1\nkind: Template\nmetadata: {name: x}\nspec:\n  parametrs: [{name: a}]\n",
    ),
    Case(
        "v1 template reference to nothing",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\nspec: {templateRef: {name: missing}}\n",
    ),
    Case(
        "v1 neither tasks nor template",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\nspec: {}\n",
    ),
    Case(
        "sub-workflow",
        "name: sub\ninputs: [need]\n"
        + STEP
        + "---\n"
        + """\
name: x
steps:
  - {id: a, type: "orchestrator:workflow", workflow: sbu}
  - {id: b, type: "orchestrator:workflow", workflow: sub}
  - {id: c, type: "orchestrator:workflow", workflow: sub, inputs: {need: 1, ned: 2}}
  - {id: d, type: "orchestrator:workflow", workflow: "{{ name }}"}
""",
    ),
    Case(
        "sub-workflows in a circle",
        'name: x\nsteps: [{id: a, type: "orchestrator:workflow", workflow: y}]\n---\n'
        'name: y\nsteps: [{id: a, type: "orchestrator:workflow", workflow: x}]\n',
    ),
    Case("approval without message", "name: x\nsteps:\n  - {id: a, type: 'orchestrator:approval'}\n"),
    Case("output transform", "name: x\n" + STEP + "outputs:\n  a: {value: '{{ steps.a }}', transform: uper}\n"),
    Case("output without value", "name: x\n" + STEP + "outputs:\n  a: {vlaue: '{{ steps.a }}'}\n  b: {fallback: 1}\n"),
    Case(
        "unknown tool",
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\nspec:\n"
        "  tasks: [{id: a, executor: 'llm-forge:tool:calculatr', inputs: {a: 1}}]\n",
    ),
    Case("misspelt keys", "name: x\nsteps:\n  - {iid: a, typ: action, action: b, conditon: 1 > 2, outptu: c}\n"),
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
    [problem] = read_text("w.yaml", "name: x\nsteps:\n  - {id: a, provider: openai, model: m, promt: p}\n").diagnostics
    assert problem.excerpt() == (
        "w.yaml:3:41: unknown key 'promt'; did you mean 'prompt'?\n"
        "      - {id: a, provider: openai, model: m, promt: p}\n"
        "                                            ^"
    )


FILES = {
    "10 MB": (
        b"#" * (10 * 1024 * 1024 + 1),
        "1:1: the file has 10,485,761 bytes; at most 10,485,760 are read; split it",
    ),
    "binary": (
        b"name: \0\1",
        "1:1: this is a binary file, not YAML; take it out of the folder, or save it as UTF-8 text",
    ),
    "wrong encoding": (
        "name: x\ndescription: é\n".encode("latin-1"),
        "2:1: byte 0xe9 is not UTF-8; save the file as UTF-8",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_message_of_a_file_that_is_no_text(name: str, tmp_path: Path) -> None:
    content, expected = FILES[name]
    (tmp_path / "w.yaml").write_bytes(content)
    [error] = read_folder(tmp_path).errors
    assert str(error) == f"{tmp_path}/w.yaml:{expected}"


def test_message_of_a_name_that_two_files_use(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("name: x\n" + STEP)
    [error] = read_folder(tmp_path).errors
    assert str(error) == (
        f"{tmp_path}/b.yaml:1:7: the name 'x' is taken by {tmp_path}/a.yaml; give each workflow a name of its own"
    )
