"""The JSON Schema of workflow files, made from the models that read them: for editors, and for whoever writes files by program.

It is as strict as the reading is about keys, types and ranges. What needs more than one place of a file to be seen (references,
cycles, names) is left to ``llm-orchestrator validate``. Draft 7, which all editors know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from airflow_llm_provider.engine.executor import executor_names, find_executor
from dag_factory.notations import steps, v1
from dag_factory.notations.base import TEMPLATE_KEY, EventModel, InputModel, OutputModel

__all__ = ["SCHEMA_FILE", "schema_text", "workflow_schema"]

SCHEMA_FILE = "workflow.schema.json"
"""The schema's name as a file."""

_TEMPLATE = {"type": "string", "pattern": r"\{\{"}
"""What may stand in place of any input, because its value is known only when the step runs."""

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, for values as a file may write them."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        # An editor would offer `null` and models' texts as defaults.
        return self.generate_inner(schema["schema"])

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        told = super().str_schema(schema)
        # Where a text belongs, a number is read as one.
        return told if "pattern" in told or "minLength" in told else {**told, "type": ["string", "number"]}


class _Definitions:
    """Collects definitions under names of their own."""

    def __init__(self) -> None:
        self.all: dict[str, Schema] = {}

    def of(self, model: type[BaseModel], prefix: str) -> Schema:
        """Give the schema of a model, with those it refers to among the definitions."""
        told = model.model_json_schema(
            ref_template=f"#/$defs/{prefix}.{{model}}", schema_generator=_Generator, mode="validation"
        )
        for name, inner in told.pop("$defs", {}).items():
            self.all[f"{prefix}.{name}"] = _plain(inner)
        plain: Schema = _plain(told)
        return plain


def workflow_schema(executors: Iterable[str] | None = None) -> Schema:
    """Give the schema of a workflow file.

    Args:
        executors: Names of the executors that a file may use; every installed one when None.
    """
    found = _Definitions()
    names = executor_names() if executors is None else executors
    inputs = {name: found.of(find_executor(name).Inputs, _word(name)) for name in names}
    found.all["step"] = _step(found, inputs)
    found.all["task"] = _task(found, inputs)
    found.all["input"] = found.of(InputModel, "input")
    named = found.all["input"]
    found.all["named input"] = {
        **named,
        "properties": {name: schema for name, schema in named["properties"].items() if name != "name"},
        "required": [],
    }
    found.all["output"] = found.of(OutputModel, "output")
    found.all["task output"] = found.of(v1.TaskOutput, "task output")
    found.all["event"] = found.of(EventModel, "event")
    found.all["branch"] = found.of(v1.BranchModel, "branch")
    found.all["template reference"] = found.of(v1.TemplateRef, "template reference")
    found.all["steps notation"] = found.of(steps.RootModel, "steps")
    for kind, model in v1.KINDS.items():
        found.all[kind] = found.of(model, kind)
        found.all[kind]["properties"]["kind"] = {"const": kind}
    kinds = [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}} for kind in v1.KINDS
    ]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "LLM workflow",
        "description": "A workflow file of airflow-llm-provider, in the steps or in the v1 notation.",
        "type": "object",
        "if": {"properties": {"apiVersion": True}, "required": ["apiVersion"]},
        "then": {
            "required": ["kind"],
            "properties": {"apiVersion": True, "kind": {"enum": [*v1.KINDS]}},
            "allOf": kinds,
        },
        "else": {"$ref": "#/$defs/steps notation"},
        "$defs": found.all,
    }


def schema_text(schema: Schema) -> str:
    """Write a schema as the text of a file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def _step(found: _Definitions, inputs: Mapping[str, Schema]) -> Schema:
    """Give the schema of a step: by its type, the keys of all steps and the inputs of its executor."""
    common, gated = found.of(steps.StepModel, "step"), found.of(steps.GatedModel, "step")
    kinds = {**inputs, **{name: {} for name in ("parallel", "branch")}}
    cases = []
    for name, given in kinds.items():
        kind: Schema = {"properties": {"type": {"const": name}}}
        if name != "llm":
            # A step without a type is of the type llm.
            kind["required"] = ["type"]
        if name in steps.GROUPS:
            whole = found.of(steps.GROUPS[name], f"step.{name}")
        else:
            shape = gated if "condition" in given.get("properties", {}) else common
            properties = {**shape["properties"], **_with_templates(given)}
            if find_executor(name).has_template:
                properties[TEMPLATE_KEY] = {"$ref": "#/$defs/template step"}
            open_ended = given.get("additionalProperties", False)
            whole = {**common, "properties": properties, "additionalProperties": open_ended}
        found.all[f"step of type {name}"] = whole
        cases.append({"if": kind, "then": {"$ref": f"#/$defs/step of type {name}"}})
    # The step of a fan-out needs no id.
    found.all["template step"] = {"type": "object", "properties": {"type": {"enum": [*kinds]}}}
    return {
        "type": "object",
        "required": ["id"],
        "properties": {"id": True, "type": {"enum": [*kinds]}},
        "allOf": cases,
    }


def _task(found: _Definitions, inputs: Mapping[str, Schema]) -> Schema:
    """Give the schema of a task of v1: by its executor, the inputs that this one has."""
    config = found.of(v1.TaskConfig, "task")
    cases = []
    for name, pattern in v1.executor_patterns(inputs).items():
        if name == v1.TOOL:
            # The inputs are the tool's parameters.
            continue
        given = inputs[name]
        own = _with_templates(given)
        own |= {v1.in_camel_case(key): schema for key, schema in own.items()}
        if find_executor(name).has_template:
            own[TEMPLATE_KEY] = {"type": "object"}
        nested = {**config, "properties": {**config["properties"], **own}}
        found.all[f"inputs of {name}"] = {
            "type": "object",
            "properties": {**own, "config": nested},
            "patternProperties": {"^x-": True},
            "additionalProperties": given.get("additionalProperties", False),
        }
        condition = {"properties": {"executor": pattern}, "required": ["executor"]}
        cases.append({"if": condition, "then": {"properties": {"inputs": {"$ref": f"#/$defs/inputs of {name}"}}}})
    return {**found.of(v1.Task, "task"), "allOf": cases}


def _with_templates(given: Schema) -> Schema:
    properties: Schema = {}
    for name, schema in given.get("properties", {}).items():
        takes_any = not (schema.keys() - {"title", "description"})
        properties[name] = True if takes_any else {"anyOf": [schema, _TEMPLATE]}
    return properties


_KEYWORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
"""What pydantic writes for a bound on a value whose type it does not know, and the keyword for it."""


def _plain(schema: Any) -> Any:
    """Leave out what only repeats names or is no keyword of draft 7, and allow the free keys in every closed object."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-ref" in schema:
        return {"$ref": f"#/$defs/{schema['x-ref']}"}
    plain = {
        _KEYWORDS.get(key, key): {name: _plain(inner) for name, inner in value.items()}
        if key == "properties"
        else _plain(value)
        for key, value in schema.items()
        if not (key in ("title", "format") and isinstance(value, str))
    }
    if plain.get("additionalProperties") is False:
        plain["patternProperties"] = {"^x-": True}
    return plain
