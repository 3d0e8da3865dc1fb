"""What the types of a model say of the data that it is made from: which keys there may be, and what each of them holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from airflow_llm_provider.workflow.model import DocumentPath

__all__ = ["alternatives", "fields_of", "is_list", "may_be_absent", "type_at", "type_of", "values_of"]


def alternatives(kind: Any) -> Iterator[Any]:
    """Give what a type may be: itself without what is written around it, or the members of a union.

    Args:
        kind: The type.
    """
    if get_origin(kind) is Annotated:
        yield from alternatives(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from alternatives(member)
    elif kind is not type(None):
        yield kind


def fields_of(kind: Any, data: object = None) -> Mapping[str, Any] | None:
    """Give the keys that data of a type may have, each with its type; None if the type is no model.

    Args:
        kind: The type.
        data: The data. Of several models its ``type`` chooses one; all their keys are given while it chooses none.
    """
    models = [each for each in alternatives(kind) if isinstance(each, type) and issubclass(each, BaseModel)]
    if not models:
        return None
    given = data.get("type") if isinstance(data, Mapping) else None
    chosen = [model for model in models if given is not None and given in _types(model)] if len(models) > 1 else models
    return {name: kind for model in reversed(chosen or models) for name, kind in _fields(model).items()}


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    return {written: type_of(info) for name, info in model.model_fields.items() for written in _names(name, info)}


def type_of(field: FieldInfo) -> Any:
    """Give a field's type, with what is written around it.

    Args:
        field: The field.
    """
    kind: Any = field.annotation
    for mark in field.metadata:
        kind = Annotated[kind, mark]
    return kind


def may_be_absent(kind: Any) -> bool:
    """Tell whether None is a value of a type.

    Args:
        kind: The type.
    """
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) in (Union, UnionType) and any(
        each is type(None) or may_be_absent(each) for each in get_args(kind)
    )


def is_list(kind: Any) -> bool:
    """Tell whether a type is a list, or another row of values.

    Args:
        kind: The type.
    """
    return any(_is_row(get_origin(each)) for each in alternatives(kind))


def values_of(kind: Any) -> Any:
    """Give the type of what a list or a mapping holds; None if the type is neither.

    Args:
        kind: The type.
    """
    for each in alternatives(kind):
        origin, arguments = get_origin(each), get_args(each)
        if each is Any:
            return Any
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return arguments[1]
        if _is_row(origin):
            return arguments[0]
    return None


def type_at(kind: Any, path: DocumentPath, data: object = None) -> Any:
    """Give the type of what is at a place; None if there can be nothing.

    Args:
        kind: The type of all.
        path: The way to the place.
        data: All data.
    """
    for part in path:
        fields = fields_of(kind, data)
        kind = values_of(kind) if fields is None else fields.get(str(part))
        if kind is None:
            return None
        data = data.get(part) if isinstance(data, Mapping) else _item(data, part)
    return kind


def _is_row(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, (Sequence, Set))


def _item(data: object, part: str | int) -> object:
    return data[part] if isinstance(data, list) and isinstance(part, int) and part < len(data) else None


def _types(model: type[BaseModel]) -> tuple[object, ...]:
    return get_args(model.model_fields["type"].annotation) if "type" in model.model_fields else ()


def _names(name: str, info: FieldInfo) -> list[str]:
    choices = getattr(info.validation_alias, "choices", None)
    return [choice for choice in choices if isinstance(choice, str)] if choices else [info.alias or name]
