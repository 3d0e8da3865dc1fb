"""``json-transform``: take JSON apart, build it anew and check it, v1's ``llm-forge:json-transform``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.answers import parse_json
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import InvalidOutput
from airflow_llm_provider.executors.transform import JSONPath
from airflow_llm_provider.json_schema import JSONSchema, misfits, told
from airflow_llm_provider.workflow.templates import is_template, walk_texts

__all__ = ["JSONTransform", "JSONTransformInputs"]


def _paths_inside(mapping: dict[str, Any]) -> dict[str, Any]:
    from airflow_llm_provider.executors.json_paths import Query

    problems = []
    for place, text in walk_texts(mapping):
        try:
            # What a template gives is not known before the run.
            if not is_template(text):
                Query(text)
        except ValueError as error:
            problems.append(f"{'.'.join(map(str, place))}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return mapping


JSONPaths = Annotated[dict[str, Any], AfterValidator(_paths_inside)]


class JSONTransformInputs(Inputs):
    """What to make of which value: select, then build, then check, each if it is given.

    Attributes:
        input: An object, a list, or a text that holds JSON; ``data`` is another name for it.
        data: The same.
        path: JSONPath of what is wanted. One of names and indexes only gives one value, any other a list.
        first: Whether the first value that ``path`` finds is enough.
        default: What to give where ``path`` finds nothing.
        mapping: An object to build, whose texts are JSONPaths into what was selected; into each of it, if that is a list which
            ``path`` gave. ``template`` is another name for it.
        template: The same.
        schema_: JSON Schema that the result must meet.
    """

    input: Any = None
    data: Any = None
    path: JSONPath | None = None
    first: bool = False
    default: Any = None
    mapping: JSONPaths | None = None
    template: JSONPaths | None = None
    schema_: JSONSchema | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = self.model_fields_set
        problems = []
        if len({"input", "data"} & given) != 1:
            problems.append("give exactly one of 'input' and 'data'")
        if {"mapping", "template"} <= given:
            problems.append("'mapping' and 'template' mean the same; give one")
        if not given & {"path", "mapping", "template", "schema_"}:
            problems.append("give at least one of 'path', 'mapping' and 'schema'")
        if "path" not in given and given & {"first", "default"}:
            problems.append("'first' and 'default' are about what 'path' finds; add 'path'")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class JSONTransform(Executor[JSONTransformInputs]):
    """Selects from JSON, builds an object and checks the result."""

    outputs: ClassVar[tuple[str, ...]] = ("result",)
    Inputs = JSONTransformInputs

    async def run(self, inputs: JSONTransformInputs, context: StepContext) -> Mapping[str, Any]:
        """Transform.

        Raises:
            InvalidOutput: The text is no JSON, or the result does not meet the schema; the message lists the misfits.
        """
        from airflow_llm_provider.executors.json_paths import Query

        result = parse_json(inputs.data if inputs.input is None else inputs.input)
        is_many = False
        if inputs.path is not None:
            query = Query(inputs.path)
            result = query.select(result, first=inputs.first, default=inputs.default)
            is_many = isinstance(result, list) and not (inputs.first or query.is_singular)
        mapping = inputs.template if inputs.mapping is None else inputs.mapping
        if mapping is not None:
            shape = _read(mapping)
            result = [_build(shape, item) for item in result] if is_many else _build(shape, result)
        if inputs.schema_ is not None:
            found = misfits(result, inputs.schema_)
            if found:
                raise InvalidOutput(f"the result does not meet its schema: {told(found)}")
        return {"result": result}


def _read(mapping: Any) -> Any:
    """Put a query in place of every text."""
    from airflow_llm_provider.executors.json_paths import Query

    if isinstance(mapping, dict):
        return {key: _read(member) for key, member in mapping.items()}
    if isinstance(mapping, list):
        return [_read(item) for item in mapping]
    return Query(mapping) if isinstance(mapping, str) else mapping


def _build(shape: Any, value: Any) -> Any:
    """Put what each query finds in its place."""
    from airflow_llm_provider.executors.json_paths import Query

    if isinstance(shape, dict):
        return {key: _build(member, value) for key, member in shape.items()}
    if isinstance(shape, list):
        return [_build(item, value) for item in shape]
    return shape.select(value) if isinstance(shape, Query) else shape
