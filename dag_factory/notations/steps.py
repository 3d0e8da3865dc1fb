"""The steps notation: a root with ``name`` and ``steps``.

A step is what its ``type`` says; the keys that all steps have are :class:`StepModel`'s, all others are inputs of the step's
executor. ``type`` defaults to ``llm``, and ``provider`` may be a name from the document's ``providers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from airflow_llm_provider.workflow.model import (
    DEFAULT_OUTPUT,
    DocumentPath,
    Input,
    Source,
    Step,
    Workflow,
    WorkflowOutput,
    slug,
)
from airflow_llm_provider.workflow.templates import is_template
from dag_factory.airflow_block import AirflowStep, AirflowWorkflow
from dag_factory.diagnostics import closest
from dag_factory.documents import Document
from dag_factory.notations.base import (
    Duration,
    InputModel,
    Model,
    Notation,
    RetryModel,
    Text,
    executor_of,
    free_keys,
    workflow_name,
)
from dag_factory.problems import Problems

__all__ = ["STEPS"]

_NAME = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")


class ProviderModel(Model):
    """One entry of ``providers``: a name for a provider, a model and an endpoint."""

    type: Text
    model: Text | None = None
    endpoint: Text | None = None
    connection: Text | None = None


class StepModel(Model):
    """The keys that every step may have; the rest are its executor's inputs."""

    model_config = ConfigDict(extra="allow")

    id: Text
    type: Text = "llm"
    name: str | None = None
    description: str | None = None
    depends_on: list[str] | str = Field(default_factory=list)
    condition: str | bool | int | float | None = None
    output: list[Text] | Text | None = None
    retry: RetryModel | None = None
    timeout_seconds: Duration | None = None
    airflow: AirflowStep | None = None


class OutputModel(Model):
    """The long form of one of the workflow's ``outputs``."""

    value: Any
    fallback: Any = None


class RootModel(Model):
    """The document's top level."""

    name: Text
    version: str | None = None
    description: str | None = None
    inputs: list[InputModel | str] | dict[str, Any] | None = None
    providers: dict[str, ProviderModel] = Field(default_factory=dict)
    steps: list[dict[str, Any]] = Field(min_length=1)
    outputs: dict[str, Any] = Field(default_factory=dict)
    timeout_seconds: Duration | None = None
    max_parallel: int | None = Field(default=None, ge=1)
    metadata: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, Any] = Field(default_factory=dict)
    airflow: AirflowWorkflow = AirflowWorkflow()


def _read(document: Document, problems: Problems) -> Workflow | None:
    root = problems.validate(RootModel, free_keys(document.data), ())
    given_steps = document.data.get("steps")
    providers = root.providers if root else {}
    steps = [
        _read_step(data, ("steps", index), providers, problems)
        for index, data in enumerate(given_steps if isinstance(given_steps, list) else [])
        if isinstance(data, dict)
    ]
    if root is None:
        return None
    return Workflow(
        name=root.name,
        dag_id=workflow_name(root.name, ("name",), problems),
        steps=tuple(step for step in steps if step is not None),
        source=Source(document.path, document.text, document.index, STEPS.name),
        version=root.version,
        description=root.description,
        inputs=_inputs(root.inputs, problems),
        declares_inputs=root.inputs is not None,
        outputs=tuple(_output(name, value, problems) for name, value in root.outputs.items()),
        metadata={**root.metadata, "labels": root.labels, "annotations": root.annotations},
        tags=tuple(dict.fromkeys([*root.airflow.tags, *map(str, root.labels.values())])),
        timeout=root.timeout_seconds,
        max_parallel=root.max_parallel,
        airflow=root.airflow.model_dump(exclude_unset=True),
    )


def _inputs(declared: list[InputModel | str] | dict[str, Any] | None, problems: Problems) -> tuple[Input, ...]:
    """Read the list form, or the mapping from a name to a default value or to a description of the input."""
    if isinstance(declared, list):
        return tuple(Input(item, required=True) if isinstance(item, str) else item.input() for item in declared)
    inputs = []
    for name, value in (declared or {}).items():
        given = {"name": name, **value} if isinstance(value, dict) else {"name": name, "default": value}
        model = problems.validate(InputModel, given, ("inputs", name))
        if model is not None:
            inputs.append(model.input())
    return tuple(inputs)


def _output(name: str, value: Any, problems: Problems) -> WorkflowOutput:
    location: DocumentPath = ("outputs", name)
    if isinstance(value, dict) and "value" in value:
        model = problems.validate(OutputModel, value, location)
        if model is not None:
            return WorkflowOutput(name, model.value, model.fallback, location)
    return WorkflowOutput(name, value, location=location)


def _read_step(
    data: Mapping[str, Any], location: DocumentPath, providers: Mapping[str, ProviderModel], problems: Problems
) -> Step | None:
    data = free_keys(data)
    model = problems.validate(StepModel, data, location)
    kind = data.get("type", "llm")
    executor = executor_of(kind, (*location, "type"), problems) if isinstance(kind, str) else None
    inputs = {name: value for name, value in data.items() if name not in StepModel.model_fields}
    if kind == "llm":
        inputs = _with_provider(inputs, providers, location, problems)
    if kind == "transform":
        inputs = _with_references(inputs)
    if executor is not None:
        problems.validate(executor.Inputs, inputs, location, also_known=StepModel.model_fields, templates=True)
    if model is None:
        return None
    names = [model.output] if isinstance(model.output, str) else model.output or [DEFAULT_OUTPUT]
    given = executor.outputs if executor else tuple(names)
    if len(names) > len(given):
        problems.error(
            f"step {model.id!r} names {len(names)} outputs, but {kind!r} gives {len(given)}",
            (*location, "output"),
            suggestion=f"in this order: {', '.join(given)}",
        )
        given = (*given, *names[len(given) :])
    return Step(
        id=model.id,
        task_id=slug(model.id),
        executor=model.type,
        inputs=inputs,
        outputs=dict(zip(names, given, strict=False)),
        depends_on=(model.depends_on,) if isinstance(model.depends_on, str) else tuple(model.depends_on),
        condition=model.condition,
        retry=model.retry.retry() if model.retry else None,
        timeout=model.timeout_seconds,
        airflow=model.airflow.task_settings() if model.airflow else {},
        location=location,
        input_locations={name: (*location, name) for name in inputs},
    )


def _with_provider(
    inputs: dict[str, Any], providers: Mapping[str, ProviderModel], location: DocumentPath, problems: Problems
) -> dict[str, Any]:
    """Replace a name from ``providers`` by what it stands for; the step's own keys win."""
    named = providers.get(str(inputs.get("provider")))
    if named is None:
        if providers and "provider" in inputs and not is_template(str(inputs["provider"])):
            _check_provider(str(inputs["provider"]), providers, location, problems)
        return inputs
    defaults = {"model": named.model, "base_url": named.endpoint, "connection": named.connection}
    return {
        **{name: value for name, value in defaults.items() if value is not None},
        **inputs,
        "provider": named.type,
    }


def _check_provider(
    name: str, providers: Mapping[str, ProviderModel], location: DocumentPath, problems: Problems
) -> None:
    # With a `providers` map, a name that is nearly one of it is a slip; any other name is a provider itself.
    suggestion = closest(name, providers)
    if suggestion.startswith("did you mean"):
        problems.warning(f"{name!r} is not in 'providers'", (*location, "provider"), suggestion=suggestion)


def _with_references(inputs: dict[str, Any]) -> dict[str, Any]:
    """Turn the plain names among a transform's ``inputs`` into references."""
    values = inputs.get("inputs")
    if not isinstance(values, list):
        return inputs
    return {
        **inputs,
        "inputs": [
            f"${{{{ {value} }}}}" if isinstance(value, str) and _NAME.fullmatch(value) else value for value in values
        ],
    }


STEPS = Notation("steps", reads=lambda data: True, read=_read)
