"""What the notations share: the shape of a notation, and the pieces that mean the same in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from airflow_llm_provider.engine.executor import Executor, find_executor
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.workflow.durations import parse_duration
from airflow_llm_provider.workflow.model import DocumentPath, Input, InputType, Retry, Workflow, slug
from dag_factory.documents import Document
from dag_factory.problems import Problems

__all__ = [
    "Duration",
    "InputModel",
    "Model",
    "Notation",
    "RetryModel",
    "Text",
    "executor_of",
    "free_keys",
    "workflow_name",
]


class Model(BaseModel):
    """Base of the notations' models: unknown keys are errors, numbers where a text belongs are its text."""

    # A task's process reads one file in one notation, so the others' validators are better built when they are needed.
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, populate_by_name=True, defer_build=True
    )


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


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, written as a number of them or with a unit."""

Text = Annotated[str, Field(min_length=1)]
"""A text that says something."""


def _milliseconds(value: Any) -> Any:
    # A bare number in these keys counts milliseconds, a text has its own unit.
    return value / 1000 if isinstance(value, (int, float)) and not isinstance(value, bool) else parse_duration(value)


Milliseconds = Annotated[float, BeforeValidator(_milliseconds), Field(ge=0)]

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


class InputModel(Model):
    """A declared input."""

    name: Text
    type: Annotated[InputType, BeforeValidator(_type_word)] = "any"
    required: bool = False
    default: Any = None
    description: str | None = None
    enum: list[Any] | None = Field(None, min_length=1)
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = Field(None, validation_alias=AliasChoices("minLength", "min_length"))
    max_length: int | None = Field(None, validation_alias=AliasChoices("maxLength", "max_length"))
    pattern: str | None = None

    def input(self) -> Input:
        """Give the canonical input."""
        keywords = {
            "enum": self.enum,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "minLength": self.min_length,
            "maxLength": self.max_length,
            "pattern": self.pattern,
        }
        schema = {keyword: value for keyword, value in keywords.items() if value is not None}
        return Input(self.name, self.type, self.required, self.default, self.description, schema)


def free_keys(data: Any) -> Any:
    """Leave out the keys that a file may add for its own purposes (``x-…``)."""
    if isinstance(data, dict):
        return {key: value for key, value in data.items() if not (isinstance(key, str) and key.startswith("x-"))}
    return data


def workflow_name(name: str, path: DocumentPath, problems: Problems) -> str:
    """Give a workflow's DAG id, adding an error when nothing of its name can be in one."""
    dag_id = slug(name)
    if not dag_id or len(dag_id) > 250:
        problems.error(f"{name!r} cannot name a DAG", path, suggestion="use 1 to 250 letters, digits, '-', '_' and '.'")
    return dag_id


def executor_of(name: str, path: DocumentPath, problems: Problems) -> type[Executor[Any]] | None:
    """Find an executor, adding an error when there is none of that name."""
    try:
        return find_executor(name)
    except ConfigurationError as error:
        problems.error(str(error), path)
        return None
