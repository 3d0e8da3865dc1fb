"""The steps notation: a root with ``name`` and ``steps``.

A step is what its ``type`` says; the keys that all steps have are :class:`StepModel`'s, all others are inputs of the step's
executor. ``type`` defaults to ``llm``, and ``provider`` may be a name from the document's ``providers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor, find_executor, is_executor
from airflow_llm_provider.files.documents import Document
from airflow_llm_provider.files.problems import UNNAMED, Problems
from airflow_llm_provider.spelling import closest, nearest
from airflow_llm_provider.workflow.model import DEFAULT_OUTPUT, DocumentPath, Gate, Step, Workflow, slug
from dag_factory.airflow_block import AirflowStep, AirflowWorkflow, Schedule, Timezone
from dag_factory.models import Duration, Model, Scalar, Text, TextList, free_keys, json_type
from dag_factory.notations.base import (
    PROVIDER_KINDS,
    TEMPLATE_KEY,
    EventsKey,
    FailurePolicy,
    FailurePolicyKey,
    InputsKey,
    Notation,
    OnError,
    OnErrorKey,
    OutputsKey,
    RetryModel,
    check_provider,
    executor_of,
    primary_first,
    read_events,
    read_executor_inputs,
    read_inputs,
    read_output,
    template_of,
    workflow_name,
)

__all__ = ["GROUPS", "NAME", "STEPS", "GatedModel", "RootModel", "StepModel"]

NAME = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
"""A text that is a reference among the ``inputs`` of a transform."""


class ProviderModel(Model):
    """One entry of ``providers``: a name for a provider, a model and an endpoint."""

    type: Text
    model: Text | None = None
    endpoint: Text | None = None
    connection: Text | None = None


_STEP = {"x-ref": "step"}
_STEPS = {"type": "array", "minItems": 1, "items": _STEP}
_ONE_OR_MORE = {"anyOf": [_STEP, {"type": "array", "items": _STEP}]}

Steps = Annotated[list[Any], Field(min_length=1), json_type(_STEPS)]
"""The steps of a group."""

Outputs = Annotated[
    list[Text] | dict[str, Text],
    BeforeValidator(lambda value: [value] if isinstance(value, (str, int, float)) else value),
    json_type(
        {
            "anyOf": [
                {"type": ["string", "number"], "minLength": 1},
                {"type": "array", "items": {"type": ["string", "number"], "minLength": 1}},
                {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
            ]
        }
    ),
]
"""Names for what a step gives: by position, or each with the executor's output that it stands for."""


class StepModel(Model):
    """The keys that every step may have; the rest are its executor's inputs."""

    model_config = ConfigDict(extra="allow")

    id: Text
    type: Text = "llm"
    name: str | None = None
    description: str | None = None
    depends_on: TextList = Field(default_factory=list)
    after: TextList = Field(default_factory=list)
    condition: Scalar = None
    output: Outputs = Field(default_factory=list)
    retry: RetryModel | None = None
    timeout_seconds: Duration | None = None
    on_error: OnErrorKey = None
    airflow: AirflowStep | None = None


class GatedModel(StepModel):
    """A step whose ``condition`` is an input of its executor; ``when`` is the one that decides whether it runs."""

    when: Scalar = None


class ParallelModel(StepModel):
    """Steps that need not wait for each other; the step itself stands for them all."""

    model_config = ConfigDict(extra="forbid")

    tasks: Steps = Field(validation_alias=AliasChoices("tasks", "steps"))
    max_concurrency: int | None = Field(default=None, ge=1)


class BranchModel(GatedModel):
    """Steps of which some run, depending on a value."""

    model_config = ConfigDict(extra="forbid")

    condition: Scalar
    branches: Annotated[
        dict[str, Any],
        Field(min_length=1),
        json_type({"type": "object", "minProperties": 1, "additionalProperties": _ONE_OR_MORE}),
    ]
    default: Annotated[Any, json_type({"anyOf": [_ONE_OR_MORE, {"type": ["string", "number", "boolean", "null"]}]})] = (
        None
    )


GROUPS: Mapping[str, type[StepModel]] = {"parallel": ParallelModel, "branch": BranchModel}
"""Types of step that hold others."""


class TriggerModel(Model):
    """When the workflow starts by itself."""

    type: Literal["cron", "manual"] = "cron"
    schedule: Schedule | None = None
    timezone: Timezone = "UTC"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type == "cron" and self.schedule is None:
            raise ValueError("a trigger of type 'cron' needs 'schedule'")
        return self


class RootModel(Model):
    """The document's top level."""

    name: Text
    version: str | None = None
    description: str | None = None
    inputs: InputsKey = None
    providers: dict[str, ProviderModel] = Field(default_factory=dict)
    steps: Annotated[list[dict[str, Any]], Field(min_length=1), json_type(_STEPS)]
    outputs: OutputsKey = Field(default_factory=dict)
    timeout_seconds: Duration | None = None
    max_parallel: int | None = Field(default=None, ge=1)
    failure_policy: FailurePolicyKey = FailurePolicy()
    trigger: TriggerModel | None = None
    events: EventsKey = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, Any] = Field(default_factory=dict)
    airflow: AirflowWorkflow = AirflowWorkflow()


def _read(document: Document, problems: Problems) -> Workflow | None:
    root = problems.validate(RootModel, document.data, ())
    reader = _Reader(root, document.data, problems)
    steps = reader.checked(reader.read(document.data.get("steps"), ("steps",), _Place()))
    if root is None or "steps" not in document.data:
        return None
    airflow = root.airflow.model_dump(exclude_unset=True)
    if root.trigger is not None and root.trigger.schedule is not None:
        airflow = {"schedule": root.trigger.schedule, "timezone": root.trigger.timezone, **airflow}
    return Workflow(
        name=root.name,
        dag_id=workflow_name(root.name, ("name",), problems),
        steps=reader.with_branches_awaited(steps),
        source=document.source(STEPS.name),
        version=root.version,
        description=root.description,
        inputs=read_inputs(root.inputs, ("inputs",), problems),
        declares_inputs=root.inputs is not None,
        outputs=tuple(read_output(name, value, ("outputs", name), problems) for name, value in root.outputs.items()),
        metadata={**root.metadata, "labels": root.labels, "annotations": root.annotations},
        tags=tuple(dict.fromkeys([*root.airflow.tags, *map(str, root.labels.values())])),
        timeout=root.timeout_seconds,
        max_parallel=root.max_parallel,
        fail_fast=root.failure_policy.mode == "failFast",
        events=read_events(root.events, ("events",), problems),
        airflow=airflow,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """What holds for every step of a group, because it holds for the group.

    Attributes:
        depends_on: Ids of the steps that the group waits for.
        gates: The conditions that the group stands under.
        after: Ids of the steps that the group must not start before.
    """

    depends_on: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    after: tuple[str, ...] = ()


class _Reader:
    """Reads the steps of one document; groups become their steps, and one more that stands for the group."""

    def __init__(self, root: RootModel | None, data: Mapping[str, Any], problems: Problems) -> None:
        self._providers = _providers(root, data)
        self._on_error = OnError(continues=root is not None and root.failure_policy.mode == "continueOnError")
        self._problems = problems
        self._members: dict[str, tuple[str, ...]] = {}
        self._waits: list[tuple[str, DocumentPath]] = []

    def read(self, given: Any, location: DocumentPath, place: _Place) -> list[Step]:
        """Read a list of steps, or the only one of a branch."""
        if isinstance(given, dict):
            return self._read_one(given, location, place)
        items = enumerate(given if isinstance(given, list) else [])
        return [step for index, item in items for step in self._read_one(item, (*location, index), place)]

    def checked(self, steps: list[Step]) -> list[Step]:
        """Give the steps without what groups wait for in vain, which is told where the group says it."""
        ids = {step.id for step in steps}
        unknown = {other for other, _ in self._waits if other not in ids}
        for other, location in self._waits:
            if other in unknown:
                self._problems.error(
                    f"there is no step {other!r} to wait for",
                    location,
                    suggestion=closest(other, ids - {UNNAMED}),
                )
        if not unknown:
            return steps
        return [
            replace(step, depends_on=tuple(other for other in step.depends_on if other not in unknown))
            for step in steps
        ]

    def with_branches_awaited(self, steps: list[Step]) -> tuple[Step, ...]:
        """Give the steps; one that waits for a branch waits for the steps of the branch as well."""
        if not self._members:
            return tuple(steps)

        def awaited(step: Step, named: tuple[str, ...]) -> tuple[str, ...]:
            ids: dict[str, None] = {}
            for other in named:
                members = self._members.get(other, ())
                ids |= dict.fromkeys((other,) if step.id in members else (other, *members))
            return tuple(ids)

        return tuple(
            replace(step, depends_on=awaited(step, step.depends_on), after=awaited(step, step.after)) for step in steps
        )

    def _read_one(self, given: Any, location: DocumentPath, place: _Place) -> list[Step]:
        if not isinstance(given, dict):
            if len(location) > 2:
                self._problems.error("a step must be a mapping", location)
            return []
        data = free_keys(given)
        kind = data.get("type")
        if kind is None:
            key = next((key for key, value in data.items() if value in [*GROUPS] and nearest(key, ["type"])), None)
            if key is not None:
                self._unknown_key(key, "type", location)
                data = {"type" if each == key else each: value for each, value in data.items()}
        elif (
            isinstance(kind, str) and kind not in GROUPS and not is_executor(kind) and (group := nearest(kind, GROUPS))
        ):
            executor_of(kind, (*location, "type"), self._problems)
            data = {**data, "type": group}
        if data.get("type") == "parallel":
            return self._read_parallel(data, location, place)
        if data.get("type") == "branch":
            return self._read_branch(data, location, place)
        step = self._read_step(data, location, place)
        return [] if step is None else [step]

    def _read_parallel(self, data: Mapping[str, Any], location: DocumentPath, place: _Place) -> list[Step]:
        model = self._problems.validate(ParallelModel, data, location)
        key = "tasks" if "tasks" in data else "steps"
        given = data.get(key, model.tasks if model else None)
        if model is None or not isinstance(given, list):
            return self.read(given, (*location, key), place)
        own = () if model.condition is None else (Gate(model.condition, location=(*location, "condition")),)
        self._waits += [(other, (*location, "depends_on", index)) for index, other in enumerate(model.depends_on)]
        inside = _Place((*place.depends_on, *model.depends_on), (*place.gates, *own), (*place.after, *model.after))
        runs: list[list[Step]] = []
        for index, item in enumerate(given):
            # At most so many at once: each waits for the end of one that many places before it.
            before = (
                runs[index - model.max_concurrency] if model.max_concurrency and index >= model.max_concurrency else []
            )
            after = (*inside.after, *(step.id for step in before))
            runs.append(self._read_one(item, (*location, key, index), replace(inside, after=after)))
        steps = [step for run in runs for step in run]
        direct = [run[-1].id if run[-1].executor == "parallel" else run[0].id for run in runs if run]
        collected = {"outputs": {step_id: f"{{{{ steps.[{step_id}] }}}}" for step_id in direct}}
        group = self._step(model, location, replace(place, gates=inside.gates), "parallel", collected)
        return [*steps, replace(group, depends_on=tuple(step.id for step in steps))]

    def _read_branch(self, data: Mapping[str, Any], location: DocumentPath, place: _Place) -> list[Step]:
        model = self._problems.validate(BranchModel, data, location)
        branches, default = data.get("branches"), data.get("default")
        given: dict[str, tuple[DocumentPath, Any]] = {}
        if isinstance(branches, dict):
            given = {key: ((*location, "branches", key), value) for key, value in free_keys(branches).items()}
        if isinstance(default, (list, dict)):
            given["default"] = ((*location, "default"), default)
        elif default is not None and str(default) not in given:
            suggestion = closest(str(default), given)
            self._problems.error(f"there is no branch {default!r}", (*location, "default"), suggestion=suggestion)
        depends_on = (model.id,) if model else ()
        steps: list[Step] = []
        for key, (way, value) in given.items():
            if not isinstance(value, (list, dict)):
                self._problems.error(f"the branch {key!r} must be a list of steps", way)
            taken = (Gate(_is_taken(model.id, key), location=way),) if model else ()
            steps += self.read(value, way, _Place(depends_on, (*place.gates, *taken), place.after))
        if model is None:
            return steps
        self._members[model.id] = tuple(step.id for step in steps)
        usual = "default" if "default" in given else None if default is None else str(default)
        inputs = {"condition": model.condition, "cases": [*given], "default": usual}
        return [self._step(model, location, place, "branch", inputs), *steps]

    def _read_step(self, data: Mapping[str, Any], location: DocumentPath, place: _Place) -> Step | None:
        data = self._with_keys_as_meant(data, location)
        kind = data.get("type", "llm")
        simple = isinstance(kind, (str, int, float))
        executor = executor_of(str(kind), (*location, "type"), self._problems) if simple else None
        own = executor.Inputs.model_fields if executor else {}
        shape = GatedModel if "condition" in own else StepModel
        model = self._problems.validate(shape, data, location)
        # Where the executor has an input of a step's key, as `orchestrator:assert` has `condition`, it is the executor's.
        inputs = {name: value for name, value in data.items() if name not in shape.model_fields or name in own}
        if simple and kind in PROVIDER_KINDS:
            inputs = _with_provider(inputs, self._providers, location, self._problems, kind)
            if isinstance(others := inputs.get("fallbacks"), list):
                inputs["fallbacks"] = [
                    _with_provider(other, self._providers, (*location, "fallbacks", number), self._problems, kind)
                    if isinstance(other, dict)
                    else other
                    for number, other in enumerate(others)
                ]
        if kind == "transform":
            inputs = _with_references(inputs)
        template = None
        if executor is not None and executor.has_template:
            given = template_of(inputs, location, self._problems)
            template = self._read_step(given, (*location, TEMPLATE_KEY), _Place()) if given else None
        if executor is not None:
            read_executor_inputs(executor, inputs, location, self._problems, also_known=shape.model_fields)
        if model is None:
            return None
        kind = model.type if simple else UNNAMED
        return self._step(model, location, place, kind, inputs, template)

    def _unknown_key(self, key: str, right: str, location: DocumentPath) -> None:
        suggestion = f"did you mean {right!r}?"
        self._problems.error(f"unknown key {key!r}", (*location, key), suggestion=suggestion, at_key=True)

    def _with_keys_as_meant(self, data: Mapping[str, Any], location: DocumentPath) -> Mapping[str, Any]:
        """Rename the keys of all steps that are misspelt, adding an error for each: what they hold would be missed."""
        common = StepModel.model_fields.keys()
        for name in ("llm", data.get("type", "llm")):
            # An unknown type is told of elsewhere, and says nothing about keys.
            if not (isinstance(name, str) and is_executor(name)):
                return data
            inputs = find_executor(name).Inputs
            if inputs.model_config.get("extra") == "allow":
                continue
            known = {*common, *inputs.model_fields}
            for key in [key for key in data if key not in known and key != TEMPLATE_KEY]:
                right = nearest(key, known)
                fits = right == "type" if name == "llm" and "type" not in data else name == data.get("type", "llm")
                if right in common and right not in data and fits:
                    self._unknown_key(key, str(right), location)
                    data = {str(right) if each == key else each: value for each, value in data.items()}
        return data

    def _step(
        self,
        model: StepModel,
        location: DocumentPath,
        place: _Place,
        kind: str,
        inputs: Mapping[str, Any],
        template: Step | None = None,
    ) -> Step:
        on_error: OnError = model.on_error or self._on_error
        executor = find_executor(kind) if is_executor(kind) else None
        gates, condition = place.gates, model.condition
        if isinstance(model, GatedModel):
            condition = None
            gates += () if model.when is None else (Gate(model.when, location=(*location, "when")),)
        return Step(
            id=model.id,
            task_id=slug(model.id),
            executor=kind,
            inputs=inputs,
            outputs=self._outputs(model, executor, location),
            depends_on=tuple(dict.fromkeys((*place.depends_on, *model.depends_on))),
            after=tuple(dict.fromkeys((*place.after, *model.after))),
            condition=condition,
            gates=gates,
            conditions=executor.conditions if executor else frozenset(),
            template=template,
            continues=on_error.continues,
            default=on_error.default,
            retry=model.retry.retry() if model.retry else None,
            timeout=model.timeout_seconds,
            airflow=model.airflow.task_settings() if model.airflow else {},
            location=location,
            input_locations={name: (*location, name) for name in inputs},
        )

    def _outputs(
        self, model: StepModel, executor: type[Executor[Any]] | None, location: DocumentPath
    ) -> dict[str, str]:
        if isinstance(model.output, dict):
            return self._named_outputs(model.output, executor, location)
        names = model.output or [DEFAULT_OUTPUT]
        given = executor.outputs if executor else tuple(names)
        if len(names) > len(given):
            self._problems.error(
                f"{len(names)} outputs are named, but {model.type!r} gives {len(given)}",
                (*location, "output"),
                suggestion=f"in this order: {', '.join(given)}",
            )
            given = (*given, *names[len(given) :])
        return dict(zip(names, given, strict=False))

    def _named_outputs(
        self, names: Mapping[str, str], executor: type[Executor[Any]] | None, location: DocumentPath
    ) -> dict[str, str]:
        if executor is None:
            return {**names}
        if not names:
            self._problems.error("'output' names nothing", (*location, "output"), suggestion="leave it out")
            return {DEFAULT_OUTPUT: executor.outputs[0]}
        for name, given in names.items():
            if given not in executor.outputs:
                self._problems.error(
                    f"the step does not give an output {given!r}",
                    (*location, "output", name),
                    suggestion=closest(given, executor.outputs),
                )
        return primary_first(names, executor)


def _providers(root: RootModel | None, data: Mapping[str, Any]) -> Mapping[str, ProviderModel]:
    """Give the entries of ``providers``; one whose model is given but wrong has some model nevertheless."""
    given = data.get("providers")
    written = given if isinstance(given, dict) else {}
    return {
        name: entry.model_copy(update={"model": UNNAMED})
        if entry.model is None and isinstance(written.get(name), dict) and "model" in written[name]
        else entry
        for name, entry in (root.providers if root else {}).items()
    }


def _is_taken(branch: str, key: str) -> str:
    """Give the condition that a branch has taken the way of that key."""
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{{{{ steps.[{branch}] }}}} == '{quoted}'"


def _with_provider(
    inputs: dict[str, Any],
    providers: Mapping[str, ProviderModel],
    location: DocumentPath,
    problems: Problems,
    executor: str,
) -> dict[str, Any]:
    """Replace a name from ``providers`` by what it stands for; the step's own keys win."""
    named = providers.get(str(inputs.get("provider")))
    if named is None:
        if "provider" in inputs:
            place = (*location, "provider")
            check_provider(inputs["provider"], place, problems, executor=executor, also_known=providers)
        return inputs
    if named.type != UNNAMED:
        check_provider(named.type, ("providers", str(inputs["provider"]), "type"), problems, executor=executor)
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
            f"${{{{ {value} }}}}" if isinstance(value, str) and NAME.fullmatch(value) else value for value in values
        ],
    }


STEPS = Notation("steps", reads=lambda data: True, read=_read)
