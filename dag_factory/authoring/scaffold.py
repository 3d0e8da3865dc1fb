"""The first version of a workflow file, for ``llm-orchestrator new``: commented, valid, and able to run without a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.workflow.model import slug
from dag_factory.authoring.schema import SCHEMA_FILE
from dag_factory.read import BESIDE_SUFFIXES

__all__ = ["Kind", "Notation", "Scaffold", "scaffold"]

Notation = Literal["steps", "v1"]
Kind = Literal["Workflow", "CronWorkflow", "EventWorkflow", "Template"]


@dataclass(frozen=True, slots=True)
class Scaffold:
    """A new workflow.

    Attributes:
        text: The file.
        sample: Inputs that a run can be tried with.
    """

    text: str
    sample: Mapping[str, Any]


def scaffold(name: str, notation: Notation | None = None, kind: Kind = "Workflow") -> Scaffold:
    """Write a new workflow.

    Args:
        name: Its name, which is also that of the file and of the DAG.
        notation: The notation; where None, the first that has the kind.
        kind: What starts it.

    Raises:
        ConfigurationError: No DAG and no file can have that name, or the notation does not have the kind.
    """
    _check_name(name)
    body = _BODIES.get((notation or "steps", kind)) or (None if notation else _BODIES["v1", kind])
    if body is None:
        raise ConfigurationError(f"the steps notation has no kind {kind!r}; write it with --notation v1")
    quoted = name if re.fullmatch(r"(?!(?i:true|false|null|yes|no|on|off|y|n)$)[A-Za-z][\w.-]*", name) else f'"{name}"'
    text = (_HEADER + body).replace("<schema>", SCHEMA_FILE).replace("<file>", name).replace("<name>", quoted)
    return Scaffold(text, _EVENT if kind == "EventWorkflow" else {"text": _SAMPLE})


def _check_name(name: str) -> None:
    beside = next((suffix for suffix in BESIDE_SUFFIXES if f"{name}.yaml".endswith(suffix)), None)
    if slug(name) != name or not re.match(r"[A-Za-z0-9]", name) or len(name) > _LONGEST:
        fit = slug(name).lstrip("-_.")[:_LONGEST]
        raise ConfigurationError(
            f"{name!r} cannot name a DAG; use 1 to {_LONGEST} letters, digits, '-', '_' and '.', and a letter or digit first"
            + (f", such as {fit!r}" if fit else "")
        )
    if beside is not None:
        raise ConfigurationError(f"{name!r} cannot name a workflow: a file *{beside} is none")


_LONGEST = 200
"""Most characters of a name: a DAG id has 250, a file's name 255 with what stands behind the workflow's."""

_SAMPLE = (
    "The museum opens a new wing on Friday. It shows four hundred maps, most of them drawn by hand, and a globe that "
    "visitors may turn. Entry is free on the first weekend."
)

_EVENT = {
    "event": {
        "id": "1",
        "source": "documents",
        "type": "created",
        "time": "2026-01-31T08:00:00Z",
        "data": {"text": _SAMPLE},
    }
}

_HEADER = """\
# yaml-language-server: $schema=<schema>
#
# Check it:                      llm-orchestrator validate <file>.yaml
# Try it without key or cost:    llm-orchestrator run <file>.yaml --input <file>.input.json --offline
# Run it:                        the same without --offline, with OPENAI_API_KEY set; or put it into the dags folder.

"""

_STEPS = """\
# Every step is a task of its own. One that uses what another gives waits for it.
steps:
  - id: summarize
    type: llm
    provider: openai                 # or anthropic, or any other that has an Airflow connection
    model: gpt-4o-mini
    prompt: |
      Summarize this text in at most {{ inputs.max_words }} words:

      {{ inputs.text }}
    temperature: 0.2
    max_tokens: 300
    output: [summary]                # a name for what the step gives
    retry: {max_attempts: 3}         # all tries, the first included

  - id: count
    type: transform
    function: template
    template: "${{ length(inputs.text) }}"
    output: [characters]

  # A step with a condition is skipped when that is false.
  - id: headline
    type: llm
    provider: openai
    model: gpt-4o-mini
    prompt: "Write a headline for this text: {{ steps.summarize.summary }}"
    max_tokens: 30
    condition: "{{ steps.count.characters }} > 100"
    output: [headline]

# What a run gives.
outputs:
  summary: "{{ steps.summarize.summary }}"
  headline:
    value: "{{ steps.headline.headline }}"
    fallback: none                   # when the step was skipped
"""

_TASKS = """\
  # Every task waits for those whose outputs it uses.
  tasks:
    - id: summarize
      type: llm
      executor: llm-forge:openai     # or llm-forge:anthropic, or any other provider that has an Airflow connection
      inputs:
        prompt: |
          Summarize this text in at most ${{ inputs.max_words }} words:

          ${{ inputs.text }}
        config:
          model: gpt-4o-mini
          temperature: 0.2
          max_tokens: 300
      outputs:
        summary: string              # a name for what the task gives
      retryPolicy: {maxAttempts: 3}  # all tries, the first included

    - id: count
      type: transform
      executor: llm-forge:text-transform
      inputs:
        operation: template
        template: "${{ length(inputs.text) }}"
      outputs:
        characters: string

    # A task with a condition is skipped when that is false.
    - id: headline
      type: llm
      executor: llm-forge:openai
      condition: ${{ tasks.count.outputs.characters > 100 }}
      inputs:
        prompt: "Write a headline for this text: ${{ tasks.summarize.outputs.summary }}"
        config:
          model: gpt-4o-mini
          max_tokens: 30
      outputs:
        headline: string

  # What a run gives.
  outputs:
    summary: ${{ tasks.summarize.outputs.summary }}
    headline:
      value: ${{ tasks.headline.outputs.headline }}
      fallback: none                 # when the task was skipped
"""

_STEPS_ROOT = """\
name: <name>
version: "1.0"
description: Summarizes a text.

"""

_INPUTS = """\
# What a run is given; in Airflow these are the fields of its form.
inputs:
  text: {type: string, required: true, description: The text to summarize.}
  max_words: {type: integer, default: 50, minimum: 10}

"""

_SCHEDULED_INPUTS = """\
# What a run is given. One that the clock starts has nobody to give it anything, so every input has a default.
inputs:
  text: {type: string, default: Nothing was written today., description: The text to summarize.}
  max_words: {type: integer, default: 50, minimum: 10}

"""

_TRIGGER = """\
trigger:
  type: cron
  schedule: "0 6 * * 1-5"            # minute hour day month weekday; or a preset of Airflow, such as "@daily"
  timezone: UTC

"""


def _root(kind: Kind, *, own: str = "", text: str) -> str:
    return f"""\
apiVersion: orchestrator.llm/v1
kind: {kind}
metadata:
  name: <name>
  version: "1.0"
  description: Summarizes a text.
spec:
{own}  inputs:
    - {text}
    - {{name: max_words, type: integer, default: 50, minimum: 10}}

"""


_REQUIRED = "{name: text, type: string, required: true, description: The text to summarize.}"

_SCHEDULE = """\
  schedule: "0 6 * * 1-5"            # minute hour day month weekday; or a preset of Airflow, such as "@daily"
  timezone: UTC
  catchup: false                     # whether missed runs are made up for
  concurrencyPolicy: Forbid          # one run at a time

  # A run that the clock starts has nobody to give it anything, so every input has a default.
"""

_EVENT_TRIGGER = """\
  # llm-orchestrator event send starts a run of every workflow that waits for such an event.
  trigger:
    eventSource: documents
    eventType: created
    filter: ${{ length(event.data.text) > 0 }}

  # `source` is where an input's value is in the event.
"""

_TEMPLATE = """\
  # A template has no DAG of its own: a step of the type orchestrator:workflow runs it, or a workflow is made from it by
  # `templateRef: {name: <file>, inputs: {max_words: 20}}`.
"""

_BODIES: Mapping[tuple[str, str], str] = {
    ("steps", "Workflow"): _STEPS_ROOT + _INPUTS + _STEPS,
    ("steps", "CronWorkflow"): _STEPS_ROOT + _TRIGGER + _SCHEDULED_INPUTS + _STEPS,
    ("v1", "Workflow"): _root("Workflow", text=_REQUIRED) + _TASKS,
    ("v1", "CronWorkflow"): _root(
        "CronWorkflow", own=_SCHEDULE, text="{name: text, type: string, default: Nothing was written today.}"
    )
    + _TASKS,
    ("v1", "EventWorkflow"): _root(
        "EventWorkflow",
        own=_EVENT_TRIGGER,
        text="{name: text, type: string, source: event.data.text, default: Nothing.}",
    )
    + _TASKS,
    ("v1", "Template"): _root("Template", own=_TEMPLATE, text=_REQUIRED) + _TASKS,
}
"""Notation and kind to the text below the header."""
