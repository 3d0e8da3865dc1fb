"""What the notations share: the shape of a notation, and the pieces that mean the same in each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, AliasChoices, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.clients import Kind, is_provider, known_providers
from airflow_llm_provider.engine.executor import Executor, find_executor
from airflow_llm_provider.engine.inputs import misfits
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.files.documents import Document
from airflow_llm_provider.files.problems import UNNAMED, Problems
from airflow_llm_provider.spelling import closest, nearest
from airflow_llm_provider.workflow.durations import parse_duration
from airflow_llm_provider.workflow.functions import FUNCTIONS
from airflow_llm_provider.workflow.model import (
    DocumentPath,
    Input,
    InputType,
    Moment,
    Retry,
    Step,
    Workflow,
    WorkflowOutput,
    slug,
)
from airflow_llm_provider.workflow.templates import is_template
from dag_factory.models import LONGEST, Duration, Model, Text, free_keys, json_type

__all__ = [
    "PROVIDER_KINDS",
    "TEMPLATE_KEY",
    "EventModel",
    "EventsKey",
    "FailurePolicy",
    "FailurePolicyKey",
    "InputModel",
    "InputsKey",
    "Notation",
    "OnError",
    "OnErrorKey",
    "OutputModel",
    "OutputsKey",
    "RetryModel",
    "check_provider",
    "executor_of",
    "primary_first",
    "read_events",
    "read_executor_inputs",
    "read_inputs",
    "read_output",
    "template_of",
    "workflow_name",
]


@dataclass(frozen=True, slots=True)
class Notation:
    """One notation.

    Attributes:
        name: Its name, for people.
        reads: Whether a document's top level looks like this notation.
        read: Reads a document, adding what is wrong with it; None when there was an error that leaves no workflow.
    """

    name: str
    reads: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Document, Problems], Workflow | None]


def _milliseconds(value: Any) -> Any:
    # A bare number in these keys counts milliseconds, a text has its own unit.
    return value / 1000 if isinstance(value, (int, float)) and not isinstance(value, bool) else parse_duration(value)


Milliseconds = Annotated[
    float,
    BeforeValidator(_milliseconds),
    Field(ge=0, le=LONGEST),
    json_type({"anyOf": [{"type": "number", "minimum": 0, "maximum": LONGEST * 1000}, {"type": "string"}]}),
]

ErrorName = Literal["RateLimitError", "TimeoutError", "ServiceUnavailable", "ConnectionError", "InvalidOutput"]


class RetryModel(Model):
    """``retry`` and ``retryPolicy``, with every spelling of their keys."""

    max_attempts: int = Field(3, ge=1, le=100, validation_alias=AliasChoices("max_attempts", "maxAttempts"))
    backoff: Literal["exponential", "linear", "constant"] = Field(
        "exponential", validation_alias=AliasChoices("backoff", "strategy", "backoffStrategy")
    )
    initial_delay: Milliseconds = Field(
        1.0,
        validation_alias=AliasChoices(
            "initial_delay", "initial_delay_ms", "initialDelay", "initialInterval", "initial_interval"
        ),
    )
    max_delay: Milliseconds = Field(
        30.0,
        validation_alias=AliasChoices("max_delay", "max_delay_ms", "maxDelay", "maxInterval", "max_interval"),
    )
    multiplier: float = Field(
        2.0, ge=1, le=100, validation_alias=AliasChoices("backoff_multiplier", "backoffMultiplier", "multiplier")
    )
    jitter: bool = True
    errors: frozenset[ErrorName] | None = Field(
        None, validation_alias=AliasChoices("retryable_errors", "retryableErrors")
    )

    def retry(self) -> Retry:
        """Give the canonical rule."""
        return Retry(
            max_attempts=self.max_attempts,
            backoff=self.backoff,
            initial_delay=self.initial_delay,
            max_delay=self.max_delay,
            multiplier=self.multiplier,
            jitter=self.jitter,
            errors=Retry().errors if self.errors is None else frozenset(self.errors),
        )


_TYPE_WORDS: Mapping[str, InputType] = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
}


def _type_word(word: Any) -> Any:
    return _TYPE_WORDS.get(word, word) if isinstance(word, str) else word


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


class InputModel(Model):
    """A declared input."""

    name: Text
    type: Annotated[
        InputType, BeforeValidator(_type_word), json_type({"enum": [*get_args(InputType), *_TYPE_WORDS]})
    ] = "any"
    required: bool = False
    default: Any = None
    description: str | None = None
    enum: list[Any] | None = Field(None, min_length=1)
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = Field(None, ge=0, validation_alias=AliasChoices("minLength", "min_length"))
    max_length: int | None = Field(None, ge=0, validation_alias=AliasChoices("maxLength", "max_length"))
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        if self.default is not None and (problems := misfits(self.input(), self.default)):
            raise ValueError(f"the default does not fit: {'; '.join(problems)}")
        return self

    def input(self) -> Input:
        """Give the canonical input; one with a default need not be given."""
        keywords = {
            "enum": self.enum,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "minLength": self.min_length,
            "maxLength": self.max_length,
            "pattern": self.pattern,
        }
        schema = {keyword: value for keyword, value in keywords.items() if value is not None}
        required = self.required and self.default is None
        return Input(self.name, self.type, required, self.default, self.description, schema, self.source)


class OnError(NamedTuple):
    """What a step's failure means for the others."""

    continues: bool
    default: Any = None


def _on_error(value: Any) -> Any:
    if value in ("fail", "continue"):
        return OnError(value == "continue")
    if isinstance(value, dict) and value.keys() == {"default"}:
        return OnError(True, value["default"])
    raise ValueError(f"write fail, continue or {{default: value}}, not {value!r}")


OnErrorKey = Annotated[
    Any,
    AfterValidator(_on_error),
    json_type(
        {
            "anyOf": [
                {"enum": ["fail", "continue"]},
                {
                    "type": "object",
                    "properties": {"default": True},
                    "required": ["default"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class FailurePolicy(Model):
    """What the failure of any step means for the others."""

    mode: Literal["failFast", "continueOnError", "default"] = "default"


def _failure_policy(value: Any) -> Any:
    if isinstance(value, str):
        value = {"mode": value}
    if isinstance(value, dict):
        words = {"fail_fast": "failFast", "continue_on_error": "continueOnError"}
        return {key: words.get(word, word) if isinstance(word, str) else word for key, word in value.items()}
    return value


_MODES = {"enum": ["failFast", "continueOnError", "default", "fail_fast", "continue_on_error"]}

FailurePolicyKey = Annotated[
    FailurePolicy,
    BeforeValidator(_failure_policy),
    json_type({"anyOf": [_MODES, {"type": "object", "properties": {"mode": _MODES}, "additionalProperties": False}]}),
]


class OutputModel(Model):
    """The long form of one of a workflow's outputs."""

    value: Any
    fallback: Any = None
    transform: str | None = None
    description: str | None = None


OutputsKey = Annotated[
    dict[str, Any],
    json_type(
        {
            "type": "object",
            "additionalProperties": {
                "if": {"type": "object", "properties": {"value": True}, "required": ["value"]},
                "then": {"x-ref": "output"},
            },
        }
    ),
]
"""Output name to :class:`OutputModel`, or to its value only."""


def read_output(name: str, value: Any, location: DocumentPath, problems: Problems) -> WorkflowOutput:
    """Read one of a workflow's outputs, in its long form or as its value only.

    Args:
        name: Its name.
        value: What the file says.
        location: Where that stands in the document.
        problems: Takes what is wrong.
    """
    # An object that only looks like the long form is a value as well.
    if isinstance(value, dict) and ("value" in value or _lacks_value(value)):
        model = problems.validate(OutputModel, value, location)
        if model is not None:
            return WorkflowOutput(
                name, model.value, model.fallback, _transform(model.transform, location, problems), location
            )
    return WorkflowOutput(name, value, location=location)


def _lacks_value(given: Mapping[str, Any]) -> bool:
    """Tell whether an object is the long form of an output whose ``value`` is missing or misspelt."""
    known = OutputModel.model_fields
    unknown = [key for key in given if key not in known and not key.startswith("x-")]
    return len(unknown) <= 1 and (
        bool(given.keys() & {"fallback", "transform"}) or any(nearest(key, known) == "value" for key in unknown)
    )


def _transform(written: str | None, location: DocumentPath, problems: Problems) -> str | None:
    """Read ``transform``: a template in which ``value`` is the value, or the name of a function of one argument."""
    if written is None or is_template(written):
        return written
    one_argument = [name for name, function in FUNCTIONS.items() if function.least == 1]
    if written not in one_argument:
        problems.error(
            f"{written!r} is neither a template with 'value' in it nor a function of one value",
            (*location, "transform"),
            suggestion=closest(written, one_argument),
        )
        return None
    return f"${{{{ {written}(value) }}}}"


InputsKey = Annotated[
    Any,
    json_type(
        {
            "anyOf": [
                {"type": "array", "items": {"anyOf": [{"type": "string", "minLength": 1}, {"x-ref": "input"}]}},
                {
                    "type": "object",
                    "additionalProperties": {"if": {"type": "object"}, "then": {"x-ref": "named input"}},
                },
                {"type": "null"},
            ]
        }
    ),
]
"""What :func:`read_inputs` reads."""


def read_inputs(declared: Any, path: DocumentPath, problems: Problems) -> tuple[Input, ...]:
    """Read the declared inputs.

    Args:
        declared: A list of names and of :class:`InputModel`, or a mapping from a name to a default value or to what else the
            model says; None when there are none.
        path: Where it stands in the document.
        problems: Takes what is wrong.
    """
    if isinstance(declared, list):
        items = [
            ((*path, index), {"name": item, "required": True} if isinstance(item, str) else item)
            for index, item in enumerate(declared)
        ]
    elif isinstance(declared, dict):
        items = [
            ((*path, name), {"name": name, **value} if isinstance(value, dict) else {"name": name, "default": value})
            for name, value in free_keys(declared).items()
        ]
    else:
        if declared is not None:
            problems.error("'inputs' must be a list or a mapping", path)
        return ()
    inputs: dict[str, Input] = {}
    for place, item in items:
        model = problems.validate(InputModel, item, place)
        if model is None or model.name == UNNAMED:
            continue
        if model.name in inputs:
            problems.error(f"the input {model.name!r} is declared twice", (*place, "name"))
        inputs.setdefault(model.name, model.input())
    return tuple(inputs.values())


def workflow_name(name: str, path: DocumentPath, problems: Problems) -> str:
    """Give a workflow's DAG id, adding an error when nothing of its name can be in one."""
    dag_id = slug(name)
    if name != UNNAMED and not 0 < len(dag_id) <= 250:
        problems.error(f"{name!r} cannot name a DAG", path, suggestion="use 1 to 250 letters, digits, '-', '_' and '.'")
    return dag_id


def executor_of(name: str, path: DocumentPath, problems: Problems) -> type[Executor[Any]] | None:
    """Find an executor, adding an error when there is none of that name."""
    try:
        return find_executor(name)
    except ConfigurationError as error:
        problems.error(str(error), path)
        return None


def primary_first(outputs: Mapping[str, str], executor: type[Executor[Any]]) -> dict[str, str]:
    """Give a step's outputs, those that are the executor's primary one before all others, whatever the order in the file."""
    return dict(sorted(outputs.items(), key=lambda item: item[1] != executor.outputs[0]))


PROVIDER_KINDS: Mapping[str, Kind] = {"llm": "chat", "embed": "embedding"}
"""Executors that ask a provider, and what they ask it for."""


def check_provider(
    name: Any, path: DocumentPath, problems: Problems, *, executor: str = "llm", also_known: Iterable[str] = ()
) -> None:
    """Add an error when no installed package is a client of that provider.

    Args:
        name: The provider's name; a template is not known yet, and what is no text is told of elsewhere.
        path: Where it stands in the document.
        problems: Takes what is wrong.
        executor: Which of :data:`PROVIDER_KINDS` asks it.
        also_known: Names that the file could have meant as well.
    """
    kind = PROVIDER_KINDS[executor]
    if isinstance(name, str) and not is_template(name) and not is_provider(name, kind):
        known = {*known_providers(kind), *also_known}
        what = "provider of embeddings" if kind == "embedding" else "provider"
        problems.error(f"no {what} is called {name!r}", path, suggestion=closest(name, known))


MOMENTS: tuple[Moment, ...] = get_args(Moment)


class EventModel(Model):
    """One thing to do when a run has ended; further keys are the inputs of what does it."""

    model_config = ConfigDict(extra="allow")

    type: Literal["webhook", "alert", "deadletter", "custom"]
    executor: Text | None = None
    retry: RetryModel | None = None
    timeout_seconds: Duration | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.type == "custom") is (self.executor is None):
            raise ValueError("an event of type 'custom' needs 'executor', and only such an event has one")
        return self


EVENT_BODY = {
    "run_id": "${{ workflow.id }}",
    "workflow": "${{ workflow.name }}",
    "status": "${{ workflow.status }}",
    "outputs": "${{ workflow.outputs }}",
    "error": "${{ workflow.error }}",
}
"""What a webhook is told, and what a dead letter holds, when the file does not say."""


_EVENT = {"x-ref": "event"}

EventsKey = Annotated[
    Any,
    json_type(
        {
            "type": ["object", "null"],
            "properties": {moment: {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]} for moment in MOMENTS},
            "additionalProperties": False,
        }
    ),
]
"""What :func:`read_events` reads."""


def read_events(given: Any, location: DocumentPath, problems: Problems) -> dict[Moment, tuple[Step, ...]]:
    """Read what is done when a run has ended.

    Args:
        given: Moment to a list of :class:`EventModel`, or one of them.
        location: Where it stands in the document.
        problems: Takes what is wrong.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        problems.error("'events' must be a mapping", location)
        return {}
    events: dict[Moment, tuple[Step, ...]] = {}
    for name, items in free_keys(given).items():
        moment = next((known for known in MOMENTS if name == known), None)
        if moment is None:
            problems.error(f"unknown key {name!r}", (*location, name), suggestion=closest(name, MOMENTS), at_key=True)
            continue
        at = (*location, name)
        listed = (
            [((*at, index), item) for index, item in enumerate(items)] if isinstance(items, list) else [(at, items)]
        )
        steps = [_event(item, place, f"{name}[{index}]", problems) for index, (place, item) in enumerate(listed)]
        events[moment] = tuple(step for step in steps if step is not None)
    return events


def _event(given: Any, location: DocumentPath, name: str, problems: Problems) -> Step | None:
    model = problems.validate(EventModel, given, location)
    if model is None:
        return None
    inputs = {key: value for key, value in free_keys(given).items() if key not in EventModel.model_fields}
    kind = {"alert": "notification:alert", "custom": model.executor}.get(model.type, "action")
    if model.type in ("webhook", "deadletter"):
        inputs = {"action": model.type, **({"body": EVENT_BODY} if "body" not in inputs else {}), **inputs}
    executor = executor_of(str(kind), (*location, "executor" if model.type == "custom" else "type"), problems)
    if executor is None:
        return None
    locations: dict[str, DocumentPath] = {key: (*location, key) for key in inputs}
    nested = inputs.get("inputs")
    if isinstance(nested, dict) and "inputs" not in executor.Inputs.model_fields:
        # As a task of v1 has them.
        del inputs["inputs"], locations["inputs"]
        inputs |= nested
        locations |= {key: (*location, "inputs", key) for key in nested}
    read_executor_inputs(executor, inputs, location, problems, locations=locations)
    return Step(
        id=name,
        task_id=slug(name),
        executor=str(kind),
        inputs=inputs,
        outputs={key: key for key in executor.outputs},
        conditions=executor.conditions,
        continues=True,
        retry=model.retry.retry() if model.retry else None,
        timeout=model.timeout_seconds,
        location=location,
        input_locations=locations,
    )


TEMPLATE_KEY = "task_template"
"""Where a step that runs another one by itself has that one."""


def template_of(inputs: dict[str, Any], location: DocumentPath, problems: Problems) -> Any:
    """Take the template out of a step's inputs, adding an error when there is none.

    Args:
        inputs: The inputs; they lose the template.
        location: Where they stand in the document.
        problems: Takes what is wrong.
    """
    template = inputs.pop(TEMPLATE_KEY, None)
    if isinstance(template, dict):
        return {"id": "item", **template}
    place = location if template is None else (*location, TEMPLATE_KEY)
    problems.error(
        f"{TEMPLATE_KEY!r} must be the step that runs for each item", place, suggestion=f"add {TEMPLATE_KEY!r}"
    )
    return None


def read_executor_inputs(
    executor: type[Executor[Any]],
    inputs: Mapping[str, Any],
    path: DocumentPath,
    problems: Problems,
    *,
    locations: Mapping[str, DocumentPath] | None = None,
    also_known: Mapping[str, Any] | None = None,
) -> None:
    """Check the inputs of a step; a key without a value counts as not given.

    Args:
        executor: The step's executor.
        inputs: Its inputs, templates not filled in.
        path: Where they stand in the document.
        problems: Takes what is wrong.
        locations: Where an input stands, if not below ``path``.
        also_known: Keys beside them that are read elsewhere; for suggestions.
    """
    given = {name: value for name, value in inputs.items() if value is not None}
    problems.validate(executor.Inputs, given, path, locations=locations, also_known=also_known or (), templates=True)
