"""What a model's types say of the data that it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import AliasChoices, BaseModel, Field

from airflow_llm_provider.files import fields as module
from airflow_llm_provider.files.fields import fields_of, is_list, may_be_absent, type_at, values_of


class Cat(BaseModel):
    type: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    type: Literal["dog"]
    name: str = Field(default="", alias="called")
    old: int = Field(default=0, validation_alias=AliasChoices("age", "years"))


class Home(BaseModel):
    pets: Mapping[str, Cat | Dog] = {}
    first: Annotated[Cat | None, "a mark"] = None
    rows: list[list[int]] | None = None
    anything: Any = None


@pytest.mark.parametrize(
    ("kind", "data", "keys"),
    [
        (Cat, None, {"type", "lives"}),
        (Dog, None, {"type", "called", "age", "years"}),
        (Cat | Dog, {"type": "cat"}, {"type", "lives"}),
        (Cat | Dog, {"type": "cow"}, {"type", "lives", "called", "age", "years"}),
        (Annotated[Cat, "a mark"] | None, None, {"type", "lives"}),
        (str, None, None),
        (list[Cat], None, None),
    ],
)
def test_the_keys_that_data_may_have(kind: Any, data: Any, keys: set[str] | None) -> None:
    found = fields_of(kind, data)
    assert (None if found is None else {*found}) == keys


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ((), Home),
        (("pets", "a", "lives"), int),
        (("pets", "b", "called"), str),
        (("pets", "b", "lives"), None),
        (("first", "type"), Literal["cat"]),
        (("first", "type", "more"), None),
        (("rows", 0, 1), int),
        (("rows", 0, 1, 2), None),
        (("anything", "at", "all"), Any),
        (("nothing",), None),
    ],
)
def test_the_type_at_a_place(path: tuple[str | int, ...], kind: Any) -> None:
    assert type_at(Home, path, {"pets": {"a": {"type": "cat"}, "b": {"type": "dog"}}}) == kind


def test_what_a_type_is() -> None:
    assert (values_of(dict[str, int]), values_of(tuple[str, ...] | None), values_of(str)) == (int, str, None)
    assert (is_list(tuple[str, ...] | None), is_list(dict[str, int]), is_list(str)) == (True, False, False)
    assert may_be_absent(Annotated[Annotated[int, "a mark"] | None, "another"])
    assert not may_be_absent(int)


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
