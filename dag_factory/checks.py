"""What can be wrong in a workflow whatever its notation: ids, references, expressions, edges, cycles.

:func:`check` also finds the inputs of a workflow that declares none, because it is here that every reference is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from airflow_llm_provider.engine.executor import find_executor
from airflow_llm_provider.errors import ConfigurationError, ExpressionError
from airflow_llm_provider.files.problems import UNNAMED, Problems
from airflow_llm_provider.spelling import closest, nearest
from airflow_llm_provider.workflow.graph import Graph
from airflow_llm_provider.workflow.model import DocumentPath, Input, Step, Workflow
from airflow_llm_provider.workflow.names import STEP_FIELDS, SYSTEM_FACTS, WORKFLOW_FACTS, Names
from airflow_llm_provider.workflow.syntax import Reference
from airflow_llm_provider.workflow.task_ids import ENDING_TASK, EVENT_TASK, OUTPUTS_TASK, mapped_task_ids
from airflow_llm_provider.workflow.templates import is_template
from airflow_llm_provider.workflow.texts import SourceText, step_texts, value_texts

MAX_STEPS = 10_000
"""Most steps of one workflow (workflow-language section 9)."""

MAX_ID = 250
"""Most characters of an id, in Airflow's database."""

__all__ = ["check", "is_batched", "is_mapped"]

FAN_OUT = "orchestrator:fan-out"
"""The executor whose steps have lanes."""


def check(workflow: Workflow, problems: Problems) -> Workflow:
    """Check a workflow.

    Args:
        workflow: What a notation read.
        problems: Takes what is wrong.

    Returns:
        The workflow; one that declares no inputs has those that its references imply.
    """
    if len(workflow.steps) > MAX_STEPS:
        problems.error(
            f"the workflow has {len(workflow.steps):,} steps; at most {MAX_STEPS:,} are allowed",
            workflow.steps[MAX_STEPS].location,
            suggestion="split it, or use a fan-out",
        )
        return workflow
    _check_lanes(workflow, problems)
    if _check_ids(workflow, problems):
        _check_dependencies(workflow, problems)
    walk = _References(workflow, problems)
    in_outputs = Names(workflow, in_outputs=True)
    texts = [(text, step) for step in workflow.steps for text in step_texts(step, walk.names)]
    events = (step for steps in workflow.events.values() for step in steps)
    texts += [(text, step) for step in events for text in step_texts(step, in_outputs)]
    for text, step in texts:
        if not text.is_condition:
            walk.look_at(text, step)
    for output in workflow.outputs:
        for key, value in (("value", output.value), ("fallback", output.fallback)):
            for text in value_texts(value, (*output.location, key), in_outputs):
                walk.look_at(text)
        for text in value_texts(output.transform, (*output.location, "transform"), in_outputs.with_local(("value",))):
            walk.look_at(text)
    # Last, because a bare word in a condition may be an input that only the templates tell of.
    for text, step in texts:
        if text.is_condition:
            walk.look_at(replace(text, names=walk.names_with_inputs(text.names)), step)
    for text in _event_texts(workflow):
        walk.look_at(text)
    workflow = walk.completed()
    _check_schedule(workflow, problems)
    _check_granularity(workflow, problems)
    return workflow


def _check_granularity(workflow: Workflow, problems: Problems) -> None:
    if workflow.airflow.get("granularity") != "workflow":
        return
    for step in workflow.steps:
        if step.executor == "orchestrator:approval":
            problems.error(
                f"step {step.id!r} waits for a person, which a task that is the whole workflow cannot",
                step.location,
                suggestion="take 'granularity' away",
            )


def _event_texts(workflow: Workflow) -> Iterator[SourceText]:
    """Walk over what is read from the event that starts a workflow."""
    names = Names(workflow)
    for index, item in enumerate(workflow.inputs):
        if item.source is not None:
            yield SourceText(item.source, (*workflow.location, "inputs", index, "source"), names, is_condition=True)
    if workflow.trigger is not None and workflow.trigger.filter is not None:
        place = (*workflow.trigger.location, "filter")
        yield SourceText(workflow.trigger.filter, place, names, is_condition=True)


def _check_schedule(workflow: Workflow, problems: Problems) -> None:
    if workflow.trigger is not None and workflow.airflow.get("schedule"):
        problems.error(
            "events start this workflow, so it has no schedule",
            (*workflow.location, "airflow", "schedule"),
            at_key=True,
        )
        return
    needed = [item.name for item in workflow.inputs if item.required and item.source is None]
    if needed and workflow.airflow.get("schedule"):
        names = ", ".join(map(repr, needed))
        problems.error(
            f"a run by schedule has nobody to give it {names}",
            (*workflow.location, "inputs"),
            suggestion="give each a default, or take 'required' away",
        )


def _check_ids(workflow: Workflow, problems: Problems) -> bool:
    by_id: dict[str, Step] = {}
    by_task: dict[str, Step | None] = dict.fromkeys((OUTPUTS_TASK, ENDING_TASK, EVENT_TASK))
    before = len(problems.found)
    # A group stands behind its steps, but in front of them in the file.
    in_file = (
        sorted(workflow.steps, key=lambda step: step.location)
        if workflow.source.notation == "steps"
        else workflow.steps
    )
    for step in in_file:
        place = (*step.location, "id")
        if step.id == UNNAMED:
            continue
        tasks = (step.task_id, *(mapped_task_ids(step.task_id) if is_mapped(step) else ()))
        taken = next((task for task in tasks if task in by_task), None)
        if step.id in by_id:
            problems.error(f"the id {step.id!r} is used twice", place, suggestion="give each step an id of its own")
        elif not step.task_id:
            problems.error(f"the id {step.id!r} has no letter or digit that Airflow takes", place)
        elif max(map(len, tasks)) > MAX_ID:
            longest = MAX_ID - max(map(len, tasks)) + len(step.task_id)
            problems.error(f"the id has {len(step.task_id)} characters; Airflow takes at most {longest}", place)
        elif taken is not None:
            other = by_task[taken]
            same = f"the same as {other.id!r}" if other else "an id that this package needs for itself"
            problems.error(f"the id {step.id!r} becomes {taken!r} in Airflow, {same}", place)
        by_id.setdefault(step.id, step)
        for task in tasks:
            by_task.setdefault(task, step)
    return len(problems.found) == before


def is_mapped(step: Step) -> bool:
    """Tell whether the items of a step are tasks of their own in Airflow.

    Args:
        step: The step.
    """
    return step.executor == FAN_OUT and step.airflow.get("lane") == "mapped"


def is_batched(step: Step) -> bool:
    """Tell whether the items of a step are questions of a batch in Airflow.

    Args:
        step: The step.
    """
    return step.executor == FAN_OUT and step.airflow.get("lane") == "batch"


def _check_lanes(workflow: Workflow, problems: Problems) -> None:
    for step in workflow.steps:
        if "lane" in step.airflow and step.executor != FAN_OUT:
            problems.error(
                f"only an {FAN_OUT!r} step has lanes",
                (*step.location, "airflow", "lane"),
                suggestion="take 'lane' away",
                at_key=True,
            )
        if step.template is not None and "lane" in step.template.airflow:
            problems.error(
                "the step of an item has no lane; a fan-out in a fan-out is always inline",
                (*step.template.location, "airflow", "lane"),
                suggestion="take 'lane' away",
                at_key=True,
            )
        if is_batched(step):
            _check_batch(step, problems)
        most = step.inputs.get("max_concurrency")
        if is_mapped(step) and isinstance(most, str) and is_template(most):
            problems.error(
                "'max_concurrency' of a mapped fan-out must be a number, for Airflow needs it before the run",
                step.input_locations.get("max_concurrency", (*step.location, "max_concurrency")),
            )
        own, items = (step.timeout, step.retry), step.template and (step.template.timeout, step.template.retry)
        if is_mapped(step) and own not in ((None, None), items):
            problems.warning(
                f"the items of {step.id!r} are tasks of their own, so its time limit and retries have no effect in Airflow",
                step.location,
                suggestion="set them in its 'task_template'",
            )


def _check_batch(step: Step, problems: Problems) -> None:
    """Check that the items of a fan-out can be questions of a batch."""
    assert step.template is not None
    template = step.template
    if template.executor != "llm":
        problems.error(
            f"only questions to chat models can be handed in as a batch, and the 'task_template' of {step.id!r} is of the type "
            f"{template.executor!r}",
            (*step.location, "airflow", "lane"),
            suggestion="write 'lane: inline' or 'lane: mapped'",
        )
        return
    from airflow_llm_provider.clients.batch import batch_providers

    provider = template.inputs.get("provider")
    if isinstance(provider, str) and not is_template(provider) and provider not in batch_providers():
        problems.error(
            f"{provider!r} takes no batches; those that do are {', '.join(batch_providers())}",
            template.input_locations.get("provider", template.location),
            suggestion="take 'lane: batch' away, or ask another provider",
        )


def _check_dependencies(workflow: Workflow, problems: Problems) -> None:
    graph = Graph(workflow)
    key = "dependsOn" if workflow.source.notation == "v1" else "depends_on"
    lacking = _Unnamed(workflow)
    for step in workflow.steps:
        awaited = [*((key, *item) for item in enumerate(step.depends_on))]
        awaited += (("after", *item) for item in enumerate(step.after))
        for written, index, other in awaited:
            if other not in graph.steps and not lacking.may_be(other):
                problems.error(
                    f"there is no step {other!r} to wait for",
                    (*step.location, written, index),
                    suggestion=closest(other, _named(graph.steps)),
                )
    if cycle := graph.cycle():
        first = graph.steps[cycle[0]]
        explicit = cycle[1] in graph.explicit[cycle[0]]
        problems.error(
            f"these steps wait for each other: {' -> '.join(cycle)}",
            (*first.location, key) if explicit else first.location,
            suggestion="break the circle at one of them",
        )


class _Unnamed:
    """The steps without an id, any of which may be the one that a reference means."""

    def __init__(self, workflow: Workflow) -> None:
        self._ids = _named(step.id for step in workflow.steps)
        self._left = sum(step.id == UNNAMED for step in workflow.steps)
        self._taken: set[str] = set()

    def may_be(self, step_id: str) -> bool:
        """Tell whether one of them may have been meant by an id that no step has and that no step's id is like."""
        if step_id not in self._taken and (self._left <= len(self._taken) or nearest(step_id, self._ids) is not None):
            return False
        self._taken.add(step_id)
        return True


def _named(ids: Iterable[str]) -> list[str]:
    return [name for name in ids if name != UNNAMED]


def _opening(source: str, offset: int | None) -> int | None:
    """Give the place of a fault: where its tag opens, if that is on an earlier line, for then the tag is not closed there."""
    start = -1 if offset is None else source.rfind("{{", 0, offset)
    return start if start >= 0 and "\n" in source[start:offset] and "}}" not in source[start:offset] else offset


def _gives_text(step: Step) -> bool:
    try:
        return find_executor(step.executor).gives_text(step.inputs)
    except ConfigurationError:
        return False


def _outputs_of(step: Step) -> tuple[str, ...]:
    """Give the names of all that a step's executor gives, whether the step names it or not."""
    try:
        return find_executor(step.executor).outputs
    except ConfigurationError:
        return ()


class _References:
    """Looks at every reference of one workflow."""

    def __init__(self, workflow: Workflow, problems: Problems) -> None:
        self.names = Names(workflow)
        self._workflow = workflow
        self._problems = problems
        self._declared = {item.name for item in workflow.inputs}
        self._implied: dict[str, None] = {}
        self._wanted: dict[str, dict[str, str]] = {}
        self._unnamed = _Unnamed(workflow)

    def look_at(self, text: SourceText, step: Step | None = None) -> None:
        """Check a text; ``step`` is None for one that is no step's."""
        if text.source == UNNAMED:
            return
        try:
            references, warnings = text.parse()
        except ExpressionError as error:
            self._problems.error(str(error), text.location, offset=_opening(str(text.source), error.offset))
            return
        for warning in warnings:
            self._problems.warning(warning, text.location)
        for reference in references:
            self._check(reference, text.location, text.names, step)

    def names_with_inputs(self, names: Names) -> Names:
        """Give the names, those of the inputs found so far included."""
        return names.knowing(self._implied)

    def completed(self) -> Workflow:
        """Give the workflow with what its references imply: inputs, if it declares none, and outputs that steps do not name."""
        workflow = self._workflow
        if not workflow.declares_inputs:
            workflow = replace(workflow, inputs=tuple(Input(name) for name in self._implied))
        return replace(workflow, steps=tuple(map(self._with_outputs, workflow.steps))) if self._wanted else workflow

    def _with_outputs(self, step: Step) -> Step:
        wanted = self._wanted.get(step.id)
        return replace(step, outputs={**step.outputs, **wanted}, undeclared=frozenset(wanted)) if wanted else step

    def _check(self, reference: Reference, place: DocumentPath, names: Names, step: Step | None) -> None:
        target = names.locate(reference.path)
        written = ".".join(map(str, reference.path))

        def error(message: str, suggestion: str = "") -> None:
            self._problems.error(message, place, suggestion=suggestion, offset=reference.offset)

        facts = {"system": SYSTEM_FACTS, "workflow": WORKFLOW_FACTS}.get(target.kind, ())
        if target.kind == "unknown_step":
            if self._unnamed.may_be(str(target.step)):
                return
            error(
                f"{written!r} names a step {target.step!r}, which does not exist",
                closest(str(target.step), _named(names.steps)),
            )
        elif target.kind == "unknown_output" and target.step is not None:
            other = names.steps[target.step]
            if target.name in _outputs_of(other):
                self._wanted.setdefault(other.id, {})[target.name] = target.name
            elif _gives_text(other):
                fields = STEP_FIELDS if reference.path[0] == "tasks" else ()
                error(
                    f"{written!r} names an output {target.name!r}, which step {other.id!r} does not have",
                    closest(target.name, {*other.outputs, *fields}),
                )
        elif target.kind == "nothing":
            error(f"{written!r} alone is no value", f"write '{written}.' and the name of what you want of it")
        elif facts and target.name not in facts:
            error(f"{written!r} does not exist", closest(target.name, facts))
        elif target.kind in ("input", "inputs"):
            self._check_input(target.name, written, place, reference.offset)
        if step is not None and target.step == step.id:
            error(f"{written!r} is the step's own result")

    def _check_input(self, name: str, written: str, place: DocumentPath, offset: int) -> None:
        if not self._workflow.declares_inputs:
            self._implied.setdefault(name)
        elif name not in self._declared and name not in ("inputs", "input"):
            self._problems.warning(
                f"{written!r} names no input of this workflow; its value is null",
                place,
                suggestion=closest(name, {*self._declared, *self._declared_outputs()}),
                offset=offset,
            )

    def _declared_outputs(self) -> Iterator[str]:
        return (name for step in self._workflow.steps for name in step.outputs)
