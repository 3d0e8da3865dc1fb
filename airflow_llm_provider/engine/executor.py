"""What an executor is: the contract between the engine, which runs steps, and the code that knows how to do one kind of work.

To add one: write a class below, and register it under the entry point group ``airflow_llm_provider.executors``::

    [project.entry-points."airflow_llm_provider.executors"]
    "acme:shout" = "acme.shout:Shout"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.registry import Registry

if TYPE_CHECKING:
    from airflow_llm_provider.engine.meter import Meter
    from airflow_llm_provider.engine.runtime import Runtime
    from airflow_llm_provider.engine.scope import Scope
    from airflow_llm_provider.workflow.model import Step

__all__ = ["Executor", "Inputs", "StepContext", "executor_names", "find_executor", "is_executor"]


class Inputs(BaseModel):
    """Base of an executor's inputs: unknown keys are errors, numbers where a text belongs are its text."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


InputsT = TypeVar("InputsT", bound=Inputs)


@dataclass(slots=True)
class StepContext:
    """What an executor may know and use besides its inputs.

    Attributes:
        step: The step being run.
        scope: What the step's references resolve to.
        runtime: Clients, credentials and settings.
        meter: The step's account; a model call is entered here.
        attempt: Which try this is, counted from 1.
        secrets: The secrets among the inputs, which must not be kept anywhere.
        kept: What the executor wants to find again in the next try.
    """

    step: Step
    scope: Scope
    runtime: Runtime
    meter: Meter
    attempt: int
    secrets: Collection[str] = ()
    kept: dict[Any, Any] = field(default_factory=dict)

    def say(self, message: str) -> None:
        """Write a line for people, in the step's log.

        Args:
            message: The line.
        """
        self.runtime.observer.step_logged(self.step, hide(message, self.secrets))

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.scope.run.id

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return str(self.scope.workflow.get("name", ""))


class Executor(ABC, Generic[InputsT]):
    """One kind of work.

    Attributes:
        outputs: Names of what it gives, the primary one first.
        conditions: Names of the inputs that are conditions, one expression each, and not templates.
        has_template: Whether a step of it has a ``task_template``, which it runs by itself.
        Inputs: Model of its inputs. A text in the workflow file may be a template for any of them; it is checked once resolved.
    """

    outputs: ClassVar[tuple[str, ...]]
    conditions: ClassVar[frozenset[str]] = frozenset()
    has_template: ClassVar[bool] = False
    Inputs: ClassVar[type[Inputs]]

    @classmethod
    def gives_text(cls, inputs: Mapping[str, Any]) -> bool:
        """Tell whether the primary output is a text, so that a reference to a member of it is a mistake.

        Args:
            inputs: The step's inputs as the file has them.
        """
        return False

    def reaches_out(self, inputs: InputsT) -> bool:
        """Tell whether it would ask or change anything outside of the run; a rehearsal leaves the step out then.

        A rehearsal's settings name no targets, and its outbox, metrics and vectors are in a folder of its own, so what is kept
        there does not reach out. Model calls do not either: they are answered in their models' place.

        Args:
            inputs: The step's inputs.
        """
        return False

    @abstractmethod
    async def run(self, inputs: InputsT, context: StepContext) -> Mapping[str, Any]:
        """Do the work once.

        Args:
            inputs: The step's inputs, resolved and validated.
            context: The step and what it runs in.

        Returns:
            Output name to JSON value.

        Raises:
            StepError: What went wrong; its class decides about another try.
        """


_EXECUTORS = Registry("airflow_llm_provider.executors", "executor")


def executor_names(*, own: bool = False) -> list[str]:
    """Give the names of all installed executors.

    Args:
        own: Only those of this package, whatever else is installed.
    """
    return _EXECUTORS.own_names() if own else _EXECUTORS.names()


def is_executor(name: str) -> bool:
    """Tell whether an installed package registers an executor of that name."""
    return name in _EXECUTORS


def find_executor(name: str) -> type[Executor[Any]]:
    """Give the executor of that name.

    Args:
        name: A name registered under the entry point group ``airflow_llm_provider.executors``.

    Raises:
        ConfigurationError: No installed package registers it; the message has the closest name.
    """
    executor: type[Executor[Any]] = _EXECUTORS.find(name)
    return executor
