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
    Source,
    Step,
    Workflow,
    WorkflowOutput,
    slug,
)
from dag_factory.airflow_block import AirflowStep, AirflowWorkflow
from dag_factory.documents import Document
from dag_factory.models import Duration, Model, Scalar, Text, TextList, free_keys
from dag_factory.notations.base import (
    Notation,
    RetryModel,
    check_provider,
    executor_of,
    read_executor_inputs,
    read_inputs,
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
    depends_on: TextList = Field(default_factory=list)
    condition: Scalar = None
    output: TextList = Field(default_factory=list)
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
    inputs: Any = None
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
    root = problems.validate(RootModel, document.data, ())
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
        inputs=read_inputs(root.inputs, ("inputs",), problems),
        declares_inputs=root.inputs is not None,
        outputs=tuple(_output(name, value, problems) for name, value in root.outputs.items()),
        metadata={**root.metadata, "labels": root.labels, "annotations": root.annotations},
        tags=tuple(dict.fromkeys([*root.airflow.tags, *map(str, root.labels.values())])),
        timeout=root.timeout_seconds,
        max_parallel=root.max_parallel,
        airflow=root.airflow.model_dump(exclude_unset=True),
    )


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
    simple = isinstance(kind, (str, int, float))
    executor = executor_of(str(kind), (*location, "type"), problems) if simple else None
    own = executor.Inputs.model_fields if executor else {}
    # Where the executor has an input of a step's key, as `orchestrator:assert` has `condition`, it is the executor's.
    inputs = {name: value for name, value in data.items() if name not in StepModel.model_fields or name in own}
    if kind == "llm":
        inputs = _with_provider(inputs, providers, location, problems)
    if kind == "transform":
        inputs = _with_references(inputs)
    if executor is not None:
        read_executor_inputs(executor, inputs, location, problems, also_known=StepModel.model_fields)
    if model is None:
        return None
    names = model.output or [DEFAULT_OUTPUT]
    given = executor.outputs if executor else tuple(names)
    if len(names) > len(given):
        problems.error(
            f"{len(names)} outputs are named, but {kind!r} gives {len(given)}",
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
        depends_on=tuple(model.depends_on),
        condition=None if "condition" in own else model.condition,
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
        if "provider" in inputs:
            check_provider(inputs["provider"], (*location, "provider"), problems, also_known=providers)
        return inputs
    check_provider(named.type, ("providers", str(inputs["provider"]), "type"), problems)
    defaults = {"model": named.model, "base_url": named.endpoint, "connection": named.connection}
    return {
        **{name: value for name, value in defaults.items() if value is not None},
        **inputs,
        "provider": named.type,
    }


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
