"""From a canonical workflow back to a document: what a file in either notation would have to say to be read into it.

:func:`convert` gives plain data, :func:`to_yaml` its text. Groups are written as the steps they have become, each with the
conditions of the groups around it as its own, so a document says the same as the file it comes from and not always in the same
way: :func:`~dag_factory.authoring.flattening.flattened` is that workflow. What a reader drops (comments, ``x-…`` keys,
descriptions of single steps) is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import yaml

from airflow_llm_provider.engine.executor import executor_names, find_executor
from airflow_llm_provider.files.documents import add_implicit_resolvers
from airflow_llm_provider.workflow.model import DEFAULT_OUTPUT, Input, Retry, Step, Workflow, WorkflowOutput
from airflow_llm_provider.workflow.templates import is_template
from dag_factory.authoring.flattening import ConversionError, flatten
from dag_factory.notations import v1
from dag_factory.notations.base import EVENT_BODY, TEMPLATE_KEY
from dag_factory.notations.steps import NAME, StepModel

__all__ = ["ConversionError", "Target", "convert", "lost", "to_yaml"]

Target = Literal["steps", "v1"]
"""The notations that a workflow can be converted to."""


def convert(workflow: Workflow, to: Target) -> dict[str, Any]:
    """Write a workflow as the document of a notation.

    Args:
        workflow: The workflow, as a file was read into it.
        to: The notation.

    Returns:
        The document. Read again, it is :func:`~dag_factory.authoring.flattening.flattened` of the workflow.

    Raises:
        ConversionError: The notation cannot say all that the workflow does.
    """
    problems: list[str] = []
    flat = flatten(workflow, problems)
    writer = _V1(problems) if to == "v1" else _Steps(problems)
    document = writer.document(flat)
    if problems:
        told = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise ConversionError(f"{workflow.name!r} cannot be converted to the {to} notation:\n{told}")
    return document


# Documents


class _Writer:
    """What both notations write alike."""

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems

    def document(self, workflow: Workflow) -> dict[str, Any]:
        """Write a workflow whose groups are flattened."""
        raise NotImplementedError

    def problem(self, message: str) -> None:
        """Note what cannot be said."""
        self._problems.append(message)


class _Steps(_Writer):
    """Writes the steps notation."""

    def document(self, workflow: Workflow) -> dict[str, Any]:
        if workflow.is_template:
            self.problem("it is a Template, which has no DAG of its own; only v1 has that kind")
        if workflow.trigger is not None:
            self.problem("it is an EventWorkflow, which an event starts; only v1 has that kind")
        steps = [self.step(step) for step in workflow.steps]
        metadata = {key: value for key, value in workflow.metadata.items() if key not in ("labels", "annotations")}
        document = {
            "name": workflow.name,
            "version": workflow.version,
            "description": workflow.description,
            "inputs": [_input(item) for item in workflow.inputs] if workflow.declares_inputs else None,
            "metadata": metadata if _asks_for_metadata(workflow) else _without(metadata, *_OWN_METADATA),
            "labels": workflow.metadata.get("labels"),
            "annotations": workflow.metadata.get("annotations"),
            "timeout_seconds": _number(workflow.timeout),
            "max_parallel": workflow.max_parallel,
            "failure_policy": "failFast" if workflow.fail_fast else None,
            "airflow": _plain(workflow.airflow),
        }
        return {
            **{key: value for key, value in document.items() if value not in (None, {})}
            | ({"inputs": []} if document["inputs"] == [] else {}),
            "steps": steps,
            **_ending(workflow, _retry_in_steps, "timeout_seconds", _number),
        }

    def step(self, step: Step, *, inside: bool = False) -> dict[str, Any]:
        """Write a step; one inside of a fan-out need not have an id."""
        own = find_executor(step.executor).Inputs.model_fields
        inputs = self.inputs(step, own)
        gated = "condition" in own
        return _given(
            id=None if inside and step.id == "item" else step.id,
            type=step.executor,
            depends_on=[*step.depends_on],
            after=[*step.after],
            **({"when" if gated else "condition": step.condition}),
        ) | {
            **inputs,
            **_given(
                **{TEMPLATE_KEY: self.step(step.template, inside=True) if step.template else None},
                output=_step_output(step),
                retry=_retry_in_steps(step.retry),
                timeout_seconds=_number(step.timeout),
                on_error=_on_error(step),
                airflow=_plain(step.airflow),
            ),
        }

    def inputs(self, step: Step, own: Mapping[str, Any]) -> dict[str, Any]:
        """Write a step's inputs, which stand beside the keys that every step has."""
        inputs = dict(step.inputs)
        if step.executor == "branch":
            cases = inputs.pop("cases")
            default = inputs.pop("default", None)
            return {**inputs, "branches": {case: [] for case in cases}, **_given(default=default)}
        if step.executor == "transform" and isinstance(inputs.get("inputs"), list):
            # A plain name is a reference there.
            inputs["inputs"] = [
                f"${{{{ '{value}' }}}}" if isinstance(value, str) and NAME.fullmatch(value) else value
                for value in inputs["inputs"]
            ]
        for name in inputs:
            if (name in StepModel.model_fields and name not in own) or name.startswith("x-"):
                self.problem(f"step {step.id!r}: its input {name!r} has the name of a key that means something else")
        return inputs


class _V1(_Writer):
    """Writes the v1 notation."""

    def document(self, workflow: Workflow) -> dict[str, Any]:
        kind = "Workflow"
        settings = dict(workflow.airflow)
        own: dict[str, Any] = {}
        inputs = workflow.inputs
        if workflow.trigger is not None:
            kind = "EventWorkflow"
            asked = workflow.trigger
            own["trigger"] = {"eventSource": asked.source} | _given(eventType=asked.type, filter=asked.filter)
            # The reader adds the event to the inputs.
            inputs = tuple(item for item in inputs if item.name != "event")
        elif workflow.is_template:
            kind = "Template"
        elif settings.get("schedule"):
            kind = "CronWorkflow"
            own["schedule"] = settings.pop("schedule")
            own |= {key: settings.pop(key) for key in ("timezone", "catchup") if key in settings}
            if settings.get("max_active_runs") == 1:
                own["concurrencyPolicy"] = "Forbid"
                del settings["max_active_runs"]
        named = {"name": workflow.name, "version": workflow.version, "description": workflow.description}
        for key, value in named.items():
            if key in workflow.metadata and workflow.metadata[key] != value:
                self.problem(f"its metadata has a key {key!r}, which in v1 is the workflow's own {key}")
        config = _given(
            timeout=_duration(workflow.timeout),
            concurrency=_given(maxParallel=workflow.max_parallel),
            failurePolicy={"mode": "failFast"} if workflow.fail_fast else None,
        )
        spec = {
            **own,
            **({"inputs": [_input(item) for item in inputs]} if workflow.declares_inputs else {}),
            **_given(config=config),
            "tasks": [self.task(step) for step in workflow.steps],
            **_ending(workflow, _retry_in_v1, "timeout_seconds", _number),
            **_given(airflow=_plain(settings)),
        }
        metadata = _given(**named) | {
            key: value for key, value in workflow.metadata.items() if key not in named and value not in (None, {})
        }
        return {"apiVersion": v1.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}

    def task(self, step: Step, *, inside: bool = False) -> dict[str, Any]:
        """Write a task; one inside of a fan-out need not have an id."""
        if not v1.ID.fullmatch(step.id):
            self.problem(f"step {step.id!r}: in v1 an id has no other characters than letters, digits, '_' and '-'")
        executor, inputs = self.executor(step)
        if step.template is not None:
            inputs[TEMPLATE_KEY] = self.task(step.template, inside=True)
        return _given(
            id=None if inside and step.id == "item" else step.id,
            type=_TASK_TYPES.get(step.executor.partition(":")[0], "custom"),
            executor=executor,
            dependsOn=[*step.depends_on],
            after=[*step.after],
            condition=step.condition,
            inputs=inputs,
            outputs=_task_outputs(step),
            retryPolicy=_retry_in_v1(step.retry),
            timeout=_duration(step.timeout),
            onError=_on_error(step),
            airflow=_plain(step.airflow),
        )

    def executor(self, step: Step) -> tuple[str, dict[str, Any]]:
        """Give the executor as v1 names it, and its inputs."""
        inputs = dict(step.inputs)
        name = _V1_NAMES.get(step.executor, step.executor)
        if step.executor == v1.TOOL:
            tool, parameters = inputs["tool"], inputs.get("parameters", {})
            if is_template(tool) or not isinstance(parameters, Mapping):
                self.problem(f"step {step.id!r}: in v1 the name of a tool and those of its parameters are no templates")
                return name, inputs
            name, inputs = f"{v1.TOOL}:{tool}", dict(parameters)
        provider = inputs.get("provider")
        if step.executor == "llm" and isinstance(provider, str) and _is_plain_provider(provider):
            name = f"llm-forge:{provider}"
            del inputs["provider"]
        if "config" in inputs:
            # `config` holds further inputs, and so one of this name as well.
            inputs["config"] = {"config": inputs["config"]}
        return name, inputs


_TASK_TYPES = {
    "llm": "llm",
    "transform": "transform",
    "json-transform": "transform",
    "text-transform": "transform",
    "action": "action",
    "llm-test-bench": "evaluation",
    "llm-governance": "policy",
    "llm-auto-optimizer": "analytics",
}
"""An executor's name, or its family, to ``type`` of a task."""

_V1_NAMES = {name: alias for alias, (name, implied) in v1.ALIASES.items() if not implied}

_OWN_METADATA = ("name", "version", "description")
"""What v1 keeps in ``metadata``, and the steps notation beside it."""


def _is_plain_provider(name: str) -> bool:
    alias = f"llm-forge:{name}"
    return re.fullmatch(r"[A-Za-z0-9_.-]+", name) is not None and alias not in {*v1.ALIASES, *executor_names(), v1.TOOL}


def _asks_for_metadata(workflow: Workflow) -> bool:
    """Tell whether a text of the workflow may refer to its metadata."""
    texts = repr([workflow.steps, workflow.outputs, workflow.events])
    return re.search(r"workflow\W{1,6}metadata|#with\s+workflow", texts) is not None


# Pieces


def _given(**keys: Any) -> dict[str, Any]:
    """Give the keys that say something."""
    return {key: value for key, value in keys.items() if value is not None and value != [] and value != {}}


def _without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in settings.items()}


def _number(seconds: float | None) -> int | float | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{_number(seconds)}s"


def _milliseconds(seconds: float) -> int | float | None:
    # A product such as 0.07 * 1000 is a little beside what the file said.
    return _number(round(seconds * 1000, 9))


def _input(item: Input) -> dict[str, Any]:
    keys = _given(
        name=item.name,
        type=None if item.type == "any" else item.type,
        required=item.required or None,
        description=item.description,
        **item.schema,
        source=item.source,
    )
    return keys if item.default is None else {**keys, "default": item.default}


def _on_error(step: Step) -> Any:
    if not step.continues:
        return None
    return "continue" if step.default is None else {"default": step.default}


def _retry_in_steps(retry: Retry | None) -> dict[str, Any] | None:
    return _retry(retry, "max_attempts", "initial_delay", "max_delay", "backoff_multiplier", "retryable_errors")


def _retry_in_v1(retry: Retry | None) -> dict[str, Any] | None:
    return _retry(retry, "maxAttempts", "initialDelay", "maxDelay", "backoffMultiplier", "retryableErrors")


def _retry(
    retry: Retry | None, attempts: str, initial: str, longest: str, multiplier: str, errors: str
) -> dict[str, Any] | None:
    if retry is None:
        return None
    usual = Retry()
    keys = {
        "backoff": (retry.backoff, usual.backoff),
        initial: (_milliseconds(retry.initial_delay), _milliseconds(usual.initial_delay)),
        longest: (_milliseconds(retry.max_delay), _milliseconds(usual.max_delay)),
        multiplier: (_number(retry.multiplier), _number(usual.multiplier)),
        "jitter": (retry.jitter, usual.jitter),
        errors: (sorted(retry.errors), sorted(usual.errors)),
    }
    return {attempts: retry.max_attempts, **{key: value for key, (value, known) in keys.items() if value != known}}


def _step_output(step: Step) -> Any:
    """Write a step's outputs: by position where that says it, else each with what it stands for."""
    given = find_executor(step.executor).outputs
    declared = step.declared_outputs
    names = [*declared]
    if declared == {DEFAULT_OUTPUT: given[0]}:
        return None
    if tuple(declared.values()) == given[: len(names)]:
        return names[0] if len(names) == 1 else names
    return declared


def _task_outputs(step: Step) -> dict[str, Any] | None:
    """Write a task's outputs: by the executor's names and one of one's own where that says it, else with ``from``."""
    given, declared = find_executor(step.executor).outputs, step.declared_outputs
    if tuple(declared.items()) == tuple((name, name) for name in given):
        return None
    primary = [name for name, key in declared.items() if key == given[0]]
    # One name that the executor does not know stands for its first output.
    simple = primary[0] if len(primary) == 1 and primary[0] not in given else None
    return {name: "any" if name in (key, simple) else {"from": key} for name, key in declared.items()}


def _ending(workflow: Workflow, retry: Any, timeout_key: str, timeout: Any) -> dict[str, Any]:
    """Write the workflow's outputs, and what is done when a run has ended."""
    events = {
        moment: [_event(step, retry, timeout_key, timeout) for step in steps]
        for moment, steps in workflow.events.items()
    }
    return _given(outputs={output.name: _output(output) for output in workflow.outputs}, events=events)


def _output(output: WorkflowOutput) -> Any:
    long = _given(fallback=output.fallback, transform=output.transform)
    if long or (isinstance(output.value, dict) and "value" in output.value):
        return {"value": output.value, **long}
    return output.value


def _event(step: Step, retry: Any, timeout_key: str, timeout: Any) -> dict[str, Any]:
    inputs = dict(step.inputs)
    more = _given(retry=retry(step.retry), **{timeout_key: timeout(step.timeout)})
    if step.executor == "notification:alert":
        return {"type": "alert", **inputs, **more}
    if step.executor == "action" and inputs.get("action") in ("webhook", "deadletter") and "body" in inputs:
        kind = inputs.pop("action")
        if inputs["body"] == EVENT_BODY:
            del inputs["body"]
        return {"type": kind, **inputs, **more}
    return {"type": "custom", "executor": step.executor, **inputs, **more}


# Text


class _Dumper(yaml.SafeDumper):
    """Writes block style, with texts of several lines as they are, and quotes around what would be read as no text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
# Both by YAML 1.1's rules and by those of the reader: `no` is quoted for the one, `1e5` for the other.
add_implicit_resolvers(_Dumper)


def to_yaml(document: Mapping[str, Any]) -> str:
    """Write a document as YAML that reads back as the same.

    Args:
        document: Plain data; its keys stay in their order.
    """
    text: str = yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9, default_flow_style=False
    )
    return text


def lost(workflow: Workflow) -> Iterator[str]:
    """Give what a conversion drops of a workflow, and what it must find beside it, for people."""
    yield "comments, x-… keys, and the names and descriptions of single steps and outputs are not kept"
    if workflow.instantiates is not None:
        yield f"the steps of the template {workflow.instantiates!r} are written out"
    names = sorted(name for name in workflow.uses if name != workflow.instantiates)
    if names:
        yield f"it runs {', '.join(map(repr, names))}, which must be in the same folder"
