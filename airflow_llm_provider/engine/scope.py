"""The values that references see while a run goes on.

A :class:`Scope` joins the workflow's :class:`~airflow_llm_provider.workflow.names.Names` with one run's data. Where the steps'
results come from differs (a dictionary in the local engine, XComs in Airflow), so they are read through :class:`Results`, one
step at a time and only when a reference needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from airflow_llm_provider.engine.spending import Payer
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.workflow.model import Workflow
from airflow_llm_provider.workflow.names import Names, Path
from airflow_llm_provider.workflow.values import get_item

__all__ = ["MASK", "MemoryResults", "Results", "Run", "Scope"]

MASK = "***"
"""Stands in place of a secret wherever a rendered text is shown."""


@dataclass(frozen=True, slots=True)
class Run:
    """Facts about one run.

    Attributes:
        id: The run's id.
        started_at: When it started, ISO 8601 in UTC; the same on every retry.
        user: Who started it.
        environment: The configured name of the environment.
    """

    id: str
    started_at: str
    user: str = ""
    environment: str = ""


class Results(Protocol):
    """Where the results of finished steps are read from."""

    def outputs(self, step_id: str) -> Mapping[str, Any] | None:
        """Give a step's outputs by name; None for a step that has none (yet)."""
        ...  # pragma: no cover - protocol

    def record(self, step_id: str) -> Mapping[str, Any] | None:
        """Give what :meth:`StepResult.record` says of a step; None for a step that has not ended."""
        ...  # pragma: no cover - protocol


@dataclass(frozen=True, slots=True)
class MemoryResults:
    """Results kept in this process.

    Attributes:
        values: Step id to its outputs and its record.
    """

    values: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)

    def outputs(self, step_id: str) -> Mapping[str, Any] | None:
        """Give a step's outputs by name."""
        return self.values[step_id][0] if step_id in self.values else None

    def record(self, step_id: str) -> Mapping[str, Any] | None:
        """Give a step's record."""
        return self.values[step_id][1] if step_id in self.values else None


def _no_secret(key: str) -> str | None:
    return None


_NOBODY = Payer("", "")


@dataclass(frozen=True, slots=True)
class Scope:
    """What references resolve to, at one place of one run. Calling it with a path gives the value, None where there is none.

    Attributes:
        names: The workflow's names.
        workflow: The workflow's own facts (``name``, ``version``, ``metadata``).
        inputs: The run's inputs, defaults filled in.
        run: Facts about the run.
        results: The steps' results.
        secret: Looks a secret up by key.
        local: Values of names that exist only here (``item``, ``index``).
        workflows: The workflows that steps may run, by name.
        workflow_outputs: The results computed so far, while ``outputs`` are being computed.
        payer: On whose account model calls are.
    """

    names: Names
    workflow: Mapping[str, Any]
    inputs: Mapping[str, Any]
    run: Run
    results: Results
    secret: Callable[[str], str | None] = _no_secret
    local: Mapping[str, Any] = field(default_factory=dict)
    workflows: Mapping[str, Workflow] = field(default_factory=dict)
    workflow_outputs: Mapping[str, Any] = field(default_factory=dict)
    payer: Payer = _NOBODY

    def with_local(self, **values: object) -> Scope:
        """Give the scope at a place where further names have a value, such as ``item`` and ``index`` in a fan-out."""
        return replace(self, names=self.names.with_local(values), local=values)

    def masked(self) -> Scope:
        """Give the same scope with every secret as ``***``: for whatever a person will see."""
        return replace(self, secret=lambda key: MASK)

    def noting_secrets(self, noted: set[str]) -> Scope:
        """Give the same scope, which adds every secret that a reference resolves to ``noted``.

        Resolving one that does not exist raises :class:`ConfigurationError`: an empty key is nothing to call a service with.
        """

        def look_up(key: str) -> str:
            value = self.secret(key)
            if value is None:
                raise ConfigurationError(
                    f"there is no secret {key!r}; add it to Airflow's variables or secrets backend, "
                    f"or set AIRFLOW_VAR_{key.upper()}"
                )
            if value:
                noted.add(value)
            return value

        return replace(self, secret=look_up)

    def __call__(self, path: Path) -> object:
        """Look a path up."""
        target = self.names.locate(path)
        value: object = None
        rest = target.rest
        match target.kind:
            case "input":
                value = self.inputs.get(target.name)
            case "inputs":
                # A workflow may well have an input that is called `input`.
                value = self.inputs.get(target.name, dict(self.inputs))
            case "output" if target.step is not None:
                value = (self.results.outputs(target.step) or {}).get(target.name)
            case "unknown_output" if target.step is not None:
                primary = self.names.steps[target.step].primary_output
                value = (self.results.outputs(target.step) or {}).get(primary)
            case "outputs" if target.step is not None:
                value = self.results.outputs(target.step)
            case "field" if target.step is not None:
                value = self._step_field(target.step, target.name)
            case "workflow":
                value = self._workflow_fact(target.name)
            case "result":
                value = self.workflow_outputs.get(target.name)
            case "system":
                facts = {"timestamp": self.run.started_at, "user": self.run.user, "environment": self.run.environment}
                value = facts.get(target.name)
            case "secret":
                value = self.secret(target.name)
            case "local":
                value = self.local.get(target.name)
        for key in rest:
            value = get_item(value, key)
        return value

    def _step_field(self, step_id: str, name: str) -> object:
        record = self.results.record(step_id)
        if record is None:
            return "pending" if name == "state" else None
        usage = record.get("usage") or {}
        match name:
            case "metadata":
                return {"execution_time": record.get("execution_time"), **usage}
            case "cost":
                return usage.get("cost_usd")
            case "tokens":
                return usage.get("total_tokens")
            case "model":
                return usage.get("model")
        return record.get(name)

    def _workflow_fact(self, name: str) -> object:
        if name in ("id", "execution_id"):
            return self.run.id
        if name == "outputs":
            return dict(self.workflow_outputs)
        return self.workflow.get(name)
