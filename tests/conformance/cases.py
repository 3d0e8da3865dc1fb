"""The cases: what each workflow must do in every place where it can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from airflow_llm_provider.workflow.model import Workflow, slug
from dag_factory import read_text

__all__ = ["CASES", "FAN_OUT", "IN_AIRFLOW", "Case", "answers"]

FAN_OUT = "orchestrator:fan-out"


def answers(delay: float) -> list[dict[str, Any]]:
    """Give what the scripted provider answers.

    Args:
        delay: Seconds that the slow step takes; what runs beside it must have ended by then, a brief one of a quarter before it
            included, which is there so that the slow one has begun.
    """
    return [
        {"match": "^conformance brief$", "answer": "rested", "delay": delay / 4},
        {"match": "^conformance slow$", "answer": "slept", "delay": delay},
    ]


@dataclass(frozen=True)
class Case:
    """One workflow and the end of its run.

    Attributes:
        name: What it shows.
        workflow: The file; its name is the case's.
        states: Step id to state.
        inputs: What the run is given.
        outputs: The declared outputs; None when there are none.
        state: How the run ends; ``refused`` when its inputs do not fit.
        events: Event to how it ended.
        beside: Other documents of the same file.
        overlapping: Whether steps must run at the same time, which ``DAG.test()`` never does.
        note: Why it is so.
    """

    name: str
    workflow: Mapping[str, Any]
    states: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] | None = None
    state: str = "completed"
    events: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[Mapping[str, Any], ...] = ()
    overlapping: bool = False
    note: str = ""

    @property
    def dag_id(self) -> str:
        """The workflow's name."""
        return slug(f"conformance {self.name}")

    @property
    def text(self) -> str:
        """The workflow file."""
        if "metadata" in self.workflow:
            named = {**self.workflow, "metadata": {"name": self.dag_id}}
        else:
            named = {"name": self.dag_id, **self.workflow}
        return str(yaml.safe_dump_all([*self.beside, named], sort_keys=False))

    def fused(self) -> Case:
        """Give the same workflow as one Airflow task, under a name of its own."""
        settings = {"airflow": {"granularity": "workflow"}}
        if "spec" in self.workflow:
            workflow = {**self.workflow, "spec": {**self.workflow["spec"], **settings}}
        else:
            workflow = {**self.workflow, **settings}
        return replace(self, name=f"{self.name} fused", workflow=workflow)

    def read(self) -> Workflow:
        """Read the file."""
        result = read_text("case.yaml", self.text)
        assert not result.errors, "\n".join(item.excerpt() for item in result.errors)
        return next(workflow for workflow in result.workflows if workflow.name == self.dag_id)

    @property
    def fans_out(self) -> bool:
        """Whether a step of it is a fan-out."""
        return FAN_OUT in str(self.workflow)

    def mapped(self) -> Case:
        """Give the same case with the items of every fan-out as tasks of their own."""
        return replace(self, name=f"{self.name} mapped", workflow=_mapped(self.workflow))


def _mapped(value: Any) -> Any:
    if isinstance(value, list):
        return [_mapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    # The step of an item may be a fan-out itself, and has no lane.
    given = {key: item if key == "task_template" else _mapped(item) for key, item in value.items()}
    if FAN_OUT in (value.get("type"), value.get("executor")):
        given["airflow"] = {**value.get("airflow", {}), "lane": "mapped"}
    return given


CASES = [Case(**case) for case in yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text("utf-8"))]

IN_AIRFLOW = [variant for case in CASES for variant in ((case, case.mapped()) if case.fans_out else (case,))]
"""The cases with all ways in which Airflow can run them."""
