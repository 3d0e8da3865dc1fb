"""The v1 notation: ``apiVersion: orchestrator.llm/v1`` and a ``kind``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor
from airflow_llm_provider.executors.tools import TOOLS
from airflow_llm_provider.files.documents import Document
from airflow_llm_provider.files.problems import UNNAMED, Problems
from airflow_llm_provider.spelling import closest
from airflow_llm_provider.workflow.model import (
    DEFAULT_OUTPUT,
    DocumentPath,
    Gate,
    Input,
    Step,
    Trigger,
    Workflow,
    slug,
)
from dag_factory.airflow_block import AirflowStep, AirflowWorkflow, Schedule, Timezone
from dag_factory.models import Duration, Model, Scalar, Text, TextList, json_type
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

__all__ = [
    "ALIASES",
    "API_VERSION",
    "ID",
    "KINDS",
    "TOOL",
    "V1",
    "BranchModel",
    "Task",
    "TaskConfig",
    "TaskOutput",
    "TemplateRef",
    "executor_patterns",
]

API_VERSION = "orchestrator.llm/v1"

ALIASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llm-forge:claude-api": ("llm", {"provider": "anthropic", "model": "claude-sonnet-4-5-20250929"}),
    "llm-forge:gpt4-api": ("llm", {"provider": "openai", "model": "gpt-4-turbo"}),
    "llm-forge:openai-api": ("llm", {"provider": "openai", "model": "gpt-4-turbo"}),
    "llm-forge:json-transform": ("json-transform", {}),
    "llm-forge:text-transform": ("text-transform", {}),
}
"""Executor in the file to our executor, and inputs it stands for. ``llm-forge:<provider>`` asks that provider."""

TOOL = "llm-forge:tool"
"""The executor of ``llm-forge:tool:<name>``, whose inputs are the tool's parameters."""

ID = re.compile(r"[A-Za-z0-9_-]+")
"""What an id may be."""


def _is_id(value: str) -> str:
    if value != UNNAMED and not ID.fullmatch(value):
        raise ValueError(f"{value!r} is no id; use letters, digits, '_' and '-'")
    return value


Id = Annotated[str, AfterValidator(_is_id)]


class Metadata(Model):
    """``metadata``: the name, and whatever else the author keeps there."""

    model_config = ConfigDict(extra="allow")

    name: Text
    version: str | None = None
    description: str | None = None
    labels: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, Any] = Field(default_factory=dict)


class Concurrency(Model):
    """``spec.config.concurrency``."""

    max_parallel: int | None = Field(default=None, ge=1, alias="maxParallel")


class Config(Model):
    """``spec.config``."""

    timeout: Duration | None = None
    concurrency: Concurrency = Concurrency()
    retry: RetryModel | None = None
    retry_policy: RetryModel | None = Field(default=None, alias="retryPolicy")
    failure_policy: FailurePolicyKey = Field(default=FailurePolicy(), alias="failurePolicy")


_TASKS = {"type": "array", "items": {"x-ref": "task"}}


class TaskOutput(Model):
    """The long form of a task's output; ``from`` is the executor's output that it stands for, where the name is not."""

    type: str = "any"
    description: str | None = None
    source: Text | None = Field(default=None, alias="from")


TypeOrOutput = Annotated[
    TaskOutput,
    BeforeValidator(lambda value: {"type": value} if isinstance(value, str) else value),
    json_type({"anyOf": [{"type": "string"}, {"x-ref": "task output"}]}),
]


def _by_name(value: Any) -> Any:
    return (
        dict.fromkeys(value, "any")
        if isinstance(value, list) and all(isinstance(name, str) for name in value)
        else value
    )


TaskOutputs = Annotated[
    dict[str, TypeOrOutput],
    BeforeValidator(_by_name),
    json_type(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"x-ref": "task output"}]}},
                {"type": "array", "items": {"type": "string"}},
            ]
        }
    ),
]
"""Names of outputs with their types, or the names alone."""


class Task(Model):
    """One entry of ``spec.tasks``."""

    id: Id
    type: Literal["llm", "transform", "custom", "evaluation", "policy", "analytics", "action"] | None = None
    executor: Text
    name: str | None = None
    description: str | None = None
    depends_on: TextList = Field(default_factory=list, alias="dependsOn")
    after: TextList = Field(default_factory=list)
    condition: Scalar = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    outputs: TaskOutputs = Field(default_factory=dict)
    retry: RetryModel | None = None
    retry_policy: RetryModel | None = Field(default=None, alias="retryPolicy")
    timeout: Duration | None = None
    on_error: OnErrorKey = Field(default=None, validation_alias=AliasChoices("on_error", "onError"))
    airflow: AirflowStep | None = None


class BranchModel(Model):
    """One entry of ``spec.branches``."""

    condition: Scalar
    tasks: Annotated[list[Any], Field(min_length=1), json_type({**_TASKS, "minItems": 1})]
    otherwise: Annotated[list[Any], json_type(_TASKS)] = Field(default_factory=list, alias="else")


class TemplateRef(Model):
    """``spec.templateRef``: the template that a workflow is made from, and values for its inputs."""

    name: Text
    inputs: dict[str, Any] = Field(default_factory=dict)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


TemplateKey = Annotated[
    TemplateRef,
    BeforeValidator(_named),
    json_type({"anyOf": [{"type": "string", "minLength": 1}, {"x-ref": "template reference"}]}),
]


class Spec(Model):
    """``spec`` of a ``Workflow``."""

    inputs: InputsKey = None
    tasks: Annotated[list[dict[str, Any]], json_type(_TASKS)] = Field(default_factory=list)
    branches: Annotated[list[Any], json_type({"type": "array", "items": {"x-ref": "branch"}})] = Field(
        default_factory=list
    )
    template_ref: TemplateKey | None = Field(default=None, alias="templateRef")
    outputs: OutputsKey = Field(default_factory=dict)
    config: Config = Config()
    events: EventsKey = None
    airflow: AirflowWorkflow = AirflowWorkflow()

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if bool(self.tasks) is (self.template_ref is not None):
            raise ValueError("give either 'tasks' or 'templateRef'")
        return self

    def airflow_settings(self) -> dict[str, Any]:
        """Give what only Airflow needs to know."""
        return self.airflow.model_dump(exclude_unset=True)


class CronSpec(Spec):
    """``spec`` of a ``CronWorkflow``."""

    schedule: Schedule
    timezone: Timezone = "UTC"
    catchup: bool = False
    concurrency_policy: Literal["Allow", "Forbid"] = Field(default="Allow", alias="concurrencyPolicy")

    def airflow_settings(self) -> dict[str, Any]:
        """Give what only Airflow needs to know, the schedule among it."""
        settings = {"schedule": self.schedule, "timezone": self.timezone, "catchup": self.catchup}
        if self.concurrency_policy == "Forbid":
            settings["max_active_runs"] = 1
        return {**settings, **Spec.airflow_settings(self)}


class EventTrigger(Model):
    """``spec.trigger`` of an ``EventWorkflow``."""

    event_source: Text = Field(alias="eventSource")
    event_type: Text | None = Field(default=None, alias="eventType")
    filter: Scalar = None


class EventSpec(Spec):
    """``spec`` of an ``EventWorkflow``."""

    trigger: EventTrigger


class TemplateSpec(Spec):
    """``spec`` of a ``Template``; ``parameters`` is another name for its inputs."""

    inputs: InputsKey = Field(default=None, validation_alias=AliasChoices("inputs", "parameters"))


class Root(Model):
    """The document's top level."""

    api_version: Literal["orchestrator.llm/v1"] = Field(alias="apiVersion")
    kind: Literal["Workflow", "CronWorkflow", "EventWorkflow", "Template"]
    metadata: Metadata
    spec: Spec


class CronRoot(Root):
    """A workflow that runs by the clock."""

    spec: CronSpec


class EventRoot(Root):
    """A workflow that an event starts."""

    spec: EventSpec


class TemplateRoot(Root):
    """A workflow that only serves others."""

    spec: TemplateSpec


KINDS: Mapping[str, type[Root]] = {
    "Workflow": Root,
    "CronWorkflow": CronRoot,
    "EventWorkflow": EventRoot,
    "Template": TemplateRoot,
}
"""Kind to the model of its documents."""


class TaskConfig(Model):
    """What ``inputs.config`` of a task says that is not an input of its executor."""

    timeout: Duration | None = None
    retry: RetryModel | None = None
    retry_policy: RetryModel | None = Field(default=None, alias="retryPolicy")


def _read(document: Document, problems: Problems) -> Workflow | None:
    spec = document.data.get("spec")
    given = spec if isinstance(spec, dict) else {}
    root = problems.validate(_model(document.data.get("kind"), given), document.data, ())
    shared = root.spec.config if root else Config()
    steps = _read_tasks(given.get("tasks"), ("spec", "tasks"), shared, problems)
    branches = given.get("branches")
    for index, branch in enumerate(branches if isinstance(branches, list) else []):
        steps += _read_branch(branch, ("spec", "branches", index), shared, problems)
    # Without the steps, whose key may be misspelt, every reference would seem wrong.
    lost = not given.keys() & {"tasks", "templateRef"} or ("branches" not in given and root and root.spec.branches)
    if root is None or lost:
        return None
    metadata, reference = root.metadata, root.spec.template_ref
    inputs_key = "parameters" if "parameters" in given else "inputs"
    inputs = read_inputs(root.spec.inputs, ("spec", inputs_key), problems)
    trigger = None
    if isinstance(root.spec, EventSpec):
        asked = root.spec.trigger
        trigger = Trigger(asked.event_source, asked.event_type, asked.filter, ("spec", "trigger"))
        # The event that starts a run is an input like any other, so it shows in the form and can be given by hand.
        inputs = (*inputs, Input("event", "object", default={}, description="The event that starts the run."))
    return Workflow(
        name=metadata.name,
        dag_id=workflow_name(metadata.name, ("metadata", "name"), problems),
        steps=tuple(steps),
        source=document.source(V1.name),
        version=metadata.version,
        description=metadata.description,
        inputs=inputs,
        declares_inputs=root.spec.inputs is not None,
        outputs=tuple(
            read_output(name, value, ("spec", "outputs", name), problems) for name, value in root.spec.outputs.items()
        ),
        metadata=metadata.model_dump(exclude_none=True),
        tags=tuple(dict.fromkeys([*root.spec.airflow.tags, *map(str, metadata.labels.values())])),
        timeout=root.spec.config.timeout,
        max_parallel=root.spec.config.concurrency.max_parallel,
        fail_fast=shared.failure_policy.mode == "failFast",
        events=read_events(root.spec.events, ("spec", "events"), problems),
        trigger=trigger,
        is_template=root.kind == "Template",
        instantiates=reference.name if reference else None,
        instance_inputs=reference.inputs if reference else {},
        airflow=root.spec.airflow_settings(),
        location=("spec",),
    )


def _model(kind: Any, spec: Mapping[str, Any]) -> type[Root]:
    """Give the model of a kind; of one that does not exist, that of the kind which has such a spec."""
    telling = {"schedule": CronRoot, "trigger": EventRoot, "parameters": TemplateRoot}
    meant = next((model for key, model in telling.items() if key in spec), Root)
    return KINDS.get(kind, meant) if isinstance(kind, str) else meant


def _read_tasks(
    given: Any, location: DocumentPath, shared: Config, problems: Problems, gates: tuple[Gate, ...] = ()
) -> list[Step]:
    steps = []
    for index, data in enumerate(given if isinstance(given, list) else []):
        if isinstance(data, dict):
            step = _read_task(data, (*location, index), shared, problems)
            if step is not None:
                steps.append(replace(step, gates=gates))
        elif gates:
            problems.error("a task must be a mapping", (*location, index))
    return steps


def _read_branch(data: Any, location: DocumentPath, shared: Config, problems: Problems) -> list[Step]:
    model = problems.validate(BranchModel, data, location)
    if model is None:
        return []
    condition = Gate(model.condition, location=(*location, "condition"))
    return [
        *_read_tasks(model.tasks, (*location, "tasks"), shared, problems, (condition,)),
        *_read_tasks(model.otherwise, (*location, "else"), shared, problems, (replace(condition, negated=True),)),
    ]


def _read_task(data: Mapping[str, Any], location: DocumentPath, shared: Config, problems: Problems) -> Step | None:
    task = problems.validate(Task, data, location)
    if task is None:
        return None
    at_executor = (*location, "executor")
    before = len(problems.found)
    name, implied = ALIASES.get(task.executor) or _provider_executor(task.executor, at_executor, problems)
    # Of an executor that does not exist, nothing is known of its inputs either.
    exists = task.executor != UNNAMED and len(problems.found) == before
    executor = executor_of(name, at_executor, problems) if exists else None
    inputs, locations, config = _flatten(task.inputs, (*location, "inputs"), problems)
    if name in PROVIDER_KINDS:
        others = inputs.get("fallbacks")
        for number, asked in enumerate([inputs, *(others if isinstance(others, list) else ())]):
            if isinstance(asked, dict) and "provider" in asked:
                place = locations["provider"] if number == 0 else (*locations["fallbacks"], number - 1, "provider")
                check_provider(asked["provider"], place, problems, executor=name)
    if name == TOOL:
        inputs, locations = {"parameters": inputs}, {"parameters": (*location, "inputs")}
    elif executor is not None:
        inputs, locations = _in_our_words(inputs, locations, executor)
    inputs = {**implied, **inputs}
    template = None
    if executor is not None and executor.has_template:
        given = template_of(inputs, (*location, "inputs"), problems)
        template = _read_task(given, (*location, "inputs", TEMPLATE_KEY), shared, problems) if given else None
    if executor is not None:
        read_executor_inputs(executor, inputs, (*location, "inputs"), problems, locations=locations)
    rules = (task.retry_policy, task.retry, config.retry_policy, config.retry, shared.retry_policy, shared.retry)
    retry = next((rule for rule in rules if rule is not None), None)
    on_error: OnError = task.on_error or OnError(shared.failure_policy.mode == "continueOnError")
    return Step(
        id=task.id,
        task_id=slug(task.id),
        executor=name,
        inputs=inputs,
        outputs=_bind_outputs(task, executor, location, problems),
        depends_on=tuple(task.depends_on),
        after=tuple(dict.fromkeys(task.after)),
        condition=task.condition,
        conditions=executor.conditions if executor else frozenset(),
        continues=on_error.continues,
        default=on_error.default,
        template=template,
        retry=retry.retry() if retry else None,
        timeout=task.timeout if task.timeout is not None else config.timeout,
        airflow=task.airflow.task_settings() if task.airflow else {},
        location=location,
        input_locations=locations,
    )


def executor_patterns(executors: Collection[str]) -> dict[str, dict[str, Any]]:
    """Give, for each of these executors, the JSON Schema of the names that it has in this notation."""
    patterns: dict[str, dict[str, Any]] = {}
    for name in executors:
        written = [name, *(alias for alias, (executor, _) in ALIASES.items() if executor == name)]
        patterns[name] = {"enum": written}
    patterns[TOOL] = {"type": "string", "pattern": f"^{TOOL}:.+$"}
    # Any other provider by its name.
    others = sorted(name.removeprefix("llm-forge:") for name in {*ALIASES, *executors} if "llm-forge:" in name)
    patterns["llm"] = {
        "type": "string",
        "pattern": f"^(llm|llm-forge:(?!({'|'.join(others)})$)[^:]+|llm-forge:(claude|gpt4|openai)-api)$",
    }
    return patterns


def _provider_executor(written: str, location: DocumentPath, problems: Problems) -> tuple[str, Mapping[str, Any]]:
    tool = written.removeprefix(f"{TOOL}:")
    if tool != written:
        if tool not in TOOLS:
            problems.error(f"no tool is called {tool!r}", location, suggestion=closest(tool, TOOLS.names()))
        return TOOL, {"tool": tool}
    family, _, provider = written.partition(":")
    if family == "llm-forge" and provider and ":" not in provider:
        aliases = [name.removeprefix("llm-forge:") for name in ALIASES]
        check_provider(provider, location, problems, also_known=aliases)
        return "llm", {"provider": provider}
    return written, {}


def _flatten(
    given: Mapping[str, Any], location: DocumentPath, problems: Problems
) -> tuple[dict[str, Any], dict[str, DocumentPath], TaskConfig]:
    """Lift ``inputs.config`` to the other inputs, and take out of it what the engine reads."""
    inputs = {name: value for name, value in given.items() if name != "config"}
    locations: dict[str, DocumentPath] = {name: (*location, name) for name in inputs}
    config = given.get("config")
    if not isinstance(config, dict):
        if config is not None:
            problems.error("'config' must be a mapping", (*location, "config"))
        return inputs, locations, TaskConfig()
    engine_keys = {"timeout", "retry", "retryPolicy"}
    model = problems.validate(
        TaskConfig, {key: config[key] for key in engine_keys & config.keys()}, (*location, "config")
    )
    for name, value in config.items():
        if name not in engine_keys:
            inputs[name] = value
            locations[name] = (*location, "config", name)
    return inputs, locations, model or TaskConfig()


def in_camel_case(name: str) -> str:
    """Write an input's name as this notation writes its keys: ``maxTokens`` for ``max_tokens``.

    Args:
        name: The name of an executor's input.
    """
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _in_our_words(
    inputs: dict[str, Any], locations: dict[str, DocumentPath], executor: type[Executor[Any]]
) -> tuple[dict[str, Any], dict[str, DocumentPath]]:
    """Read the inputs that are written in camel case by their own names."""
    words = {
        in_camel_case(name): name
        for name in executor.Inputs.model_fields
        if "_" in name.strip("_") and name not in inputs
    }
    if not words.keys() & inputs.keys():
        return inputs, locations
    return (
        {words.get(name, name): value for name, value in inputs.items()},
        {words.get(name, name): place for name, place in locations.items()},
    )


def _bind_outputs(
    task: Task, executor: type[Executor[Any]] | None, location: DocumentPath, problems: Problems
) -> dict[str, str]:
    """Find what each declared output stands for.

    That is what ``from`` says, else the executor's output of that name; a single name that the executor does not know is its
    primary output.
    """
    if executor is None:
        return {name: name for name in task.outputs or [DEFAULT_OUTPUT]}
    if not task.outputs:
        return {name: name for name in executor.outputs}
    bound = {name: output.source or name for name, output in task.outputs.items()}
    for name, output in task.outputs.items():
        if output.source is not None and output.source not in executor.outputs:
            problems.error(
                f"{task.executor!r} does not give an output {output.source!r}",
                (*location, "outputs", name, "from"),
                suggestion=closest(output.source, executor.outputs),
            )
    unknown = [name for name, output in task.outputs.items() if not output.source and name not in executor.outputs]
    taken = executor.outputs[0] in bound.values()
    for name in unknown if taken else unknown[1:]:
        problems.error(
            f"{task.executor!r} does not give an output {name!r}",
            (*location, "outputs", name),
            suggestion=f"it gives {', '.join(executor.outputs)}, and one name of your own for the first of them",
            at_key=True,
        )
    return primary_first({**bound, **dict.fromkeys(unknown, executor.outputs[0])}, executor)


def _reads(data: Mapping[str, Any]) -> bool:
    return "apiVersion" in data or {"kind", "spec"} <= data.keys()


V1 = Notation("v1", reads=_reads, read=_read)
