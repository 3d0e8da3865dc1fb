"""The canonical workflow: what every notation is read into, and all that the engine and the DAG compiler see.

Values are frozen and hold plain JSON; texts in them are still templates. How a document's spelling maps to these fields is the
business of :mod:`dag_factory.notations`, how a step runs that of :mod:`airflow_llm_provider.engine`.

``DocumentPath`` is the way to a node in the parsed document (``("steps", 0, "prompt")``); it is carried along so that an error
found later can still name the file's line and column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "DEFAULT_OUTPUT",
    "DocumentPath",
    "Gate",
    "Input",
    "InputType",
    "Moment",
    "Retry",
    "Source",
    "Step",
    "Trigger",
    "Workflow",
    "WorkflowOutput",
    "slug",
]

DocumentPath = tuple[str | int, ...]
InputType = Literal["string", "integer", "number", "boolean", "array", "object", "any"]

DEFAULT_OUTPUT = "output"
"""What a step's only output is called when the file does not name it."""

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_.-]+")


def slug(text: str) -> str:
    """Turn a name into one that Airflow takes as a DAG or task id.

    Args:
        text: Any name. Letters, digits, ``_``, ``.`` and ``-`` stay; every run of other characters becomes one ``-``.

    Returns:
        The id; empty when nothing of the name can stay.
    """
    return _NOT_IN_IDS.sub("-", text).strip("-")


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a workflow.

    Attributes:
        name: The name that references use.
        type: JSON type; ``any`` accepts every value.
        required: Whether a run must give it.
        default: The value when a run does not give it; None when there is none.
        description: Shown in the trigger form.
        schema: Further JSON Schema keywords (``enum``, ``minimum`` …).
        source: Expression over ``event`` that gives the value when a run does not; None when there is none.
    """

    name: str
    type: InputType = "any"
    required: bool = False
    default: Any = None
    description: str | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None

    def json_schema(self) -> dict[str, Any]:
        """Give the JSON Schema that a value of this input must meet; an optional input without a default may be null."""
        schema = dict(self.schema)
        if self.type != "any":
            nullable = not self.required and self.default is None
            schema["type"] = [self.type, "null"] if nullable else self.type
            if nullable and "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        if self.description:
            schema["description"] = self.description
        return schema


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and after what waits a step is tried again.

    Attributes:
        max_attempts: All tries, the first included.
        backoff: How the wait grows from try to try.
        initial_delay: Seconds before the second try.
        max_delay: Most seconds of one computed wait; a provider's ``Retry-After`` may be longer.
        multiplier: Growth of an exponential wait.
        jitter: Whether a wait is drawn at random between half of it and all of it, so that many steps do not come back at once.
        errors: Names of the error classes worth another try.
    """

    max_attempts: int = 3
    backoff: Literal["exponential", "linear", "constant"] = "exponential"
    initial_delay: float = 1.0
    max_delay: float = 30.0
    multiplier: float = 2.0
    jitter: bool = True
    errors: frozenset[str] = frozenset({"RateLimitError", "TimeoutError", "ServiceUnavailable", "ConnectionError"})

    def delay(self, attempt: int) -> float:
        """Give the wait after a failed try, without jitter.

        Args:
            attempt: Which try failed, counted from 1.

        Returns:
            Seconds.
        """
        # The exponent is bounded because the cap is reached long before and a float overflows at 2**1024.
        growth = {
            "exponential": self.multiplier ** min(attempt - 1, 64),
            "linear": float(attempt),
            "constant": 1.0,
        }[self.backoff]
        return min(self.initial_delay * growth, self.max_delay)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a branch, or the group that a step stands in, asks for before the step runs.

    Attributes:
        condition: The condition, as a file could write it.
        negated: Whether the step runs when it is false: the ``else`` of a branch.
        location: Where the condition stands in its document.
    """

    condition: str | bool | int | float
    negated: bool = False
    location: DocumentPath = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        id: The id as the file writes it; references use it.
        task_id: The id made fit for Airflow.
        executor: Name of the executor, as registered under ``airflow_llm_provider.executors``.
        inputs: The executor's inputs; texts may be templates.
        outputs: Name in the workflow to the executor's output that it stands for; the first is the primary output.
        undeclared: Names among them that the file does not give, but refers to by the step: they have no meaning by themselves.
        depends_on: Ids of the steps that must end before, and whose failure or skip matters.
        after: Ids of the steps that must end before, whatever becomes of them.
        condition: Runs the step only when true; None means always.
        gates: Further conditions, all of which must hold.
        conditions: Names of the inputs that are conditions themselves, so that their value is that of an expression.
        continues: Whether the steps behind it run, and the run succeeds, although it failed.
        default: Its primary output when it failed and ``continues``.
        template: The step that a fan-out runs for every item.
        retry: The step's own retry rule; None means the runtime's default.
        timeout: Seconds that one try may take; None means no limit of its own.
        airflow: Settings that only Airflow needs.
        location: Where the step stands in its document.
        input_locations: Where an input stands in its document.
    """

    id: str
    task_id: str
    executor: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, str]
    depends_on: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    condition: str | bool | int | float | None = None
    gates: tuple[Gate, ...] = ()
    conditions: frozenset[str] = frozenset()
    continues: bool = False
    default: Any = None
    template: Step | None = None
    retry: Retry | None = None
    timeout: float | None = None
    airflow: Mapping[str, Any] = field(default_factory=dict)
    location: DocumentPath = ()
    input_locations: Mapping[str, DocumentPath] = field(default_factory=dict)
    undeclared: frozenset[str] = frozenset()

    @property
    def wanted(self) -> tuple[Gate, ...]:
        """Everything that must hold before it runs: its gates, and its own condition behind them."""
        if self.condition is None:
            return self.gates
        return (*self.gates, Gate(self.condition, location=(*self.location, "condition")))

    @property
    def declared_outputs(self) -> dict[str, str]:
        """Those of the outputs that the file gives, or that a step has without saying so."""
        return {name: key for name, key in self.outputs.items() if name not in self.undeclared}

    @property
    def primary_output(self) -> str:
        """The name of the first output."""
        return next(iter(self.outputs))


@dataclass(frozen=True, slots=True)
class WorkflowOutput:
    """One result of the whole workflow.

    Attributes:
        name: The result's name.
        value: Its value, usually a template.
        fallback: Used instead when ``value`` is null.
        transform: What is made of it: a template in which ``value`` is the value; None leaves it as it is.
        location: Where it stands in its document.
    """

    name: str
    value: Any
    fallback: Any = None
    transform: str | None = None
    location: DocumentPath = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a workflow came from.

    Attributes:
        path: The file as it was named to the reader; None for a text that is no file.
        text: The whole file; secrets that it holds in plain text are hidden.
        document: Which document of the file, counted from 0.
        notation: The notation it is written in: ``steps`` or ``v1``.
        hides: Whether there are such secrets, so that the file itself must not be shown.
    """

    path: str | None
    text: str = field(repr=False)
    document: int
    notation: str
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """The events that start a workflow.

    Attributes:
        source: Where they come from: a name, or the URL of a message queue.
        type: Their type; None means any.
        filter: Condition over ``event`` that they must meet; None means all do.
        location: Where it stands in the document.
    """

    source: str
    type: str | None = None
    filter: str | bool | int | float | None = None
    location: DocumentPath = ()


Moment = Literal["onSuccess", "onFailure", "onTimeout", "onCancel"]
"""The ends of a run that something may be told of."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow, whatever it was written in.

    Attributes:
        name: The name as written.
        dag_id: The name made fit for Airflow.
        steps: All steps, in the file's order.
        source: Where it came from.
        version: The file's own version text.
        description: What it is for.
        inputs: Declared inputs, or those that the references imply.
        declares_inputs: Whether the file lists its inputs; if so, an unlisted one is null with a warning.
        outputs: Declared results; empty when the file declares none.
        metadata: Free data of the file; ``workflow.metadata`` in references.
        tags: Labels for Airflow's DAG list.
        timeout: Seconds that a run may take; None means no limit.
        max_parallel: Most steps of a run that may run at once; None means no limit of its own.
        fail_fast: Whether nothing new starts after the first failure.
        events: What is done when a run has ended in that way; each is a step of its own.
        trigger: The events that start it; None means that none do.
        is_template: Whether it only serves others, and has no DAG.
        instantiates: The template that its steps come from; None when they are its own.
        instance_inputs: Values for the inputs of that template.
        uses: The workflows that its steps run, by name.
        airflow: Settings that only Airflow needs.
        location: Where the workflow's own settings stand in the document.
    """

    name: str
    dag_id: str
    steps: tuple[Step, ...]
    source: Source
    version: str | None = None
    description: str | None = None
    inputs: tuple[Input, ...] = ()
    declares_inputs: bool = False
    outputs: tuple[WorkflowOutput, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    timeout: float | None = None
    max_parallel: int | None = None
    fail_fast: bool = False
    events: Mapping[Moment, tuple[Step, ...]] = field(default_factory=dict)
    trigger: Trigger | None = None
    is_template: bool = False
    instantiates: str | None = None
    instance_inputs: Mapping[str, Any] = field(default_factory=dict)
    uses: Mapping[str, Workflow] = field(default_factory=dict)
    airflow: Mapping[str, Any] = field(default_factory=dict)
    location: DocumentPath = ()
