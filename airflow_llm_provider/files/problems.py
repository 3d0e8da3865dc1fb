"""Collects what is wrong with one document, and turns pydantic's findings into words that a workflow author knows."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.files.documents import Document
from airflow_llm_provider.files.fields import fields_of, type_at
from airflow_llm_provider.spelling import closest, nearest
from airflow_llm_provider.workflow.model import DocumentPath
from airflow_llm_provider.workflow.templates import is_template

__all__ = ["UNNAMED", "Problems"]

UNNAMED = "\0"
"""Stands for a text that a file should have given, while what else is wrong is looked for; no file can hold it."""

_ROUNDS = 4
"""Times that a document is read anew after an error; each finds what the errors of the one before hid."""

ModelT = TypeVar("ModelT", bound=BaseModel)

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_parsing_size": "a smaller number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "path_type": "a path",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}

_BOUNDS = {
    "less_than_equal": ("at most {:g} is allowed", "le"),
    "less_than": ("it must be below {:g}", "lt"),
    "greater_than_equal": ("at least {:g} is needed", "ge"),
    "greater_than": ("it must be above {:g}", "gt"),
    "too_short": ("at least {} is needed", "min_length"),
    "string_too_short": ("at least {} character is needed", "min_length"),
    "string_too_long": ("at most {} characters are allowed", "max_length"),
}
"""What pydantic calls a bound, how to say it, and where its value is."""


class Problems:
    """What is wrong with one document.

    Args:
        document: The document.

    Attributes:
        found: All diagnostics so far.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._told: set[Diagnostic] = set()
        self.found: list[Diagnostic] = []

    @property
    def fatal(self) -> bool:
        """Whether the workflow cannot run."""
        return any(problem.severity == "error" for problem in self.found)

    def error(
        self, message: str, path: DocumentPath, *, suggestion: str = "", at_key: bool = False, offset: int | None = None
    ) -> None:
        """Add an error; the arguments are those of :meth:`Document.diagnostic`."""
        problem = self._document.diagnostic(message, path, suggestion=suggestion, at_key=at_key, offset=offset)
        # What several steps use is looked at for each of them.
        if problem not in self._told:
            self._told.add(problem)
            self.found.append(problem)

    def warning(
        self, message: str, path: DocumentPath, *, suggestion: str = "", offset: int | None = None, at_key: bool = False
    ) -> None:
        """Add a warning; the arguments are those of :meth:`Document.diagnostic`."""
        self.found.append(
            self._document.diagnostic(
                message, path, suggestion=suggestion, at_key=at_key, offset=offset, severity="warning"
            )
        )

    def validate(
        self,
        model: type[ModelT],
        data: Any,
        path: DocumentPath,
        *,
        locations: Mapping[str, DocumentPath] | None = None,
        also_known: Iterable[str] = (),
        templates: bool = False,
        without: Iterable[DocumentPath] = (),
    ) -> ModelT | None:
        """Read data into a model, adding an error for everything that does not fit.

        Args:
            model: The model.
            data: The data.
            path: Where the data stands in the document.
            locations: Where a top-level key of the data stands, if not below ``path``.
            also_known: Keys that are read elsewhere; for suggestions.
            templates: Whether the data may hold templates. What they will give is not known yet, so their type is no error.
            without: Ways in the data to what was left out because of an error that is told already.

        Returns:
            The model. After an error, the model of what is right, so that the checks to come can look at that; None when too
            little of it is.
        """
        told: set[DocumentPath] = set()
        changed = _Changed(without)
        renamed: dict[DocumentPath, DocumentPath] = {}
        # What is wrong is left out and what is missing filled, so that what else is wrong comes to light.
        for _ in range(_ROUNDS):
            try:
                return model.model_validate(data, by_alias=True, by_name=False)
            except ValidationError as error:
                details = _merged(error.errors(include_url=False))
            meant = _meant(model, data, details)
            renamed |= {
                (*wrong[:-1], name): wrong for wrong, right in meant.items() for name in _names_of(model, right)
            }
            details = [detail for detail in details if detail["type"] != "missing" or _place(detail) not in renamed]
            for detail in details:
                place = _place(detail)
                if place not in told and not changed.caused(detail) and not (templates and _may_become_right(detail)):
                    self._add(model, data, detail, path, locations or {}, also_known, renamed)
                told.add(place)
            data = _what_is_right(data, details, changed, meant)
        return None

    def _add(
        self,
        model: type[BaseModel],
        data: Any,
        detail: ErrorDetails,
        path: DocumentPath,
        locations: Mapping[str, DocumentPath],
        also_known: Iterable[str],
        renamed: Mapping[DocumentPath, DocumentPath],
    ) -> None:
        inside = _place(detail)
        kind, given = detail["type"], detail["input"]
        name = str(inside[-1]) if inside else ""

        def located(way: DocumentPath) -> DocumentPath:
            return locations[str(way[0])] + way[1:] if way and way[0] in locations else path + way

        label = _label(located(inside))
        # The file has what was renamed under the name that is wrong.
        above = next((inside[:n] for n in range(len(inside), 0, -1) if inside[:n] in renamed), ())
        place = located(renamed.get(above, ()) + inside[len(above) :])
        if kind == "extra_forbidden":
            known = {*_keys_at(model, data, inside[:-1]), *(also_known if len(inside) == 1 else ())}
            self.error(f"unknown key {name!r}", place, suggestion=closest(name, known), at_key=True)
        elif kind == "missing":
            self.error(f"missing key {name!r}", place[:-1], suggestion=f"add {name!r}")
        elif kind == "union_tag_not_found":
            self.error("missing key 'type'", place, suggestion="add 'type'")
        elif kind == "union_tag_invalid":
            members = [word.strip(" ']").partition("[")[2] for word in detail["ctx"]["expected_tags"].split(",")]
            tag = detail["ctx"]["tag"].partition("[")[2].removesuffix("]")
            message = f"'type' is {tag!r}; expected one of {', '.join(members)}"
            self.error(message, (*place, "type"), suggestion=_did_you_mean(tag, members))
        elif kind in ("literal_error", "enum"):
            expected = detail["ctx"]["expected"]
            words = [word.strip(" '") for word in expected.replace(" or ", ", ").split(",")]
            self.error(
                f"{label} is {given!r}; expected one of {', '.join(words)}",
                place,
                suggestion=_did_you_mean(given, words),
            )
        elif kind in _BOUNDS and isinstance(given, (int, float, str, list, dict)):
            bound, key = _BOUNDS[kind]
            size = f"has {len(given)}" if "length" in key and not isinstance(given, (int, float)) else f"is {given!r}"
            self.error(f"{label} {size}; {bound.format(detail['ctx'][key])}", place)
        elif kind == "string_pattern_mismatch":
            self.error(f"{label} is {given!r}; it must look like {detail['ctx']['pattern']}", place)
        elif kind in _EXPECTED:
            self.error(f"{label} must be {_EXPECTED[kind]}, not {_shown(given)}", place)
        elif kind == _NONE_FITS:
            self.error(f"{label} must be {detail['msg']}, not {_shown(given)}", place)
        else:
            message = detail["msg"].removeprefix("Value error, ")
            self.error(f"{label}: {message}" if inside else message, place)


def _label(place: DocumentPath) -> str:
    """Name a place: by its key, or by its number in a list."""
    if not place:
        return "the document"
    last = place[-1]
    return f"item {last + 1} of {_label(place[:-1])}" if isinstance(last, int) else repr(last)


def _place(detail: ErrorDetails) -> DocumentPath:
    return tuple(part for part in detail["loc"] if not _is_union_tag(part))


def _merged(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Make one finding of those that pydantic has for each member of a union."""
    merged: dict[DocumentPath, ErrorDetails] = {}
    for detail in details:
        place = _place(detail)
        first = merged.setdefault(place, detail)
        if first is detail or len(detail["loc"]) == len(place):
            continue
        # Of a member that the value is not even the kind of, there is nothing more to tell than its name.
        kinds = [_EXPECTED.get(first["type"], first["msg"] if first["type"] == _NONE_FITS else "")]
        kinds.append(_EXPECTED.get(detail["type"], ""))
        if all(kinds):
            message = kinds[0] if kinds[1] in kinds[0] else " or ".join(kinds)
            merged[place] = {**detail, "type": _NONE_FITS, "msg": message}
        elif kinds[0]:
            merged[place] = detail
    # `x: 5` is neither of a union's members; `x: {a: 5}` may be wrong inside the one that is a mapping.
    deeper = {place[:length] for place in merged for length in range(len(place))}
    return [
        detail
        for place, detail in merged.items()
        if not (place in deeper and (detail["type"] in _EXPECTED or detail["type"] == _NONE_FITS))
    ]


_NONE_FITS = "none_fits"
"""Our name for a value that is no member of a union."""


class _Changed:
    """What was taken out of some data, and so may be why something else of it is refused."""

    def __init__(self, objects: Iterable[DocumentPath] = ()) -> None:
        self.objects = {*objects}
        self.lists: set[DocumentPath] = set()

    def caused(self, detail: ErrorDetails) -> bool:
        """Tell whether a finding is about what was taken out, and not about what the file says."""
        place = _place(detail)
        # Behind an item that was taken out, the others of its list have moved.
        moved = any(place[:length] in self.lists for length in range(len(place)))
        # What is told of a whole may be told because of any part of it, however deep.
        return moved or any(changed[: len(place)] == place for changed in self.objects | self.lists)


def _meant(model: type[BaseModel], data: Any, details: list[ErrorDetails]) -> dict[DocumentPath, str]:
    """Find the keys that are missing only because they are misspelt."""
    meant: dict[DocumentPath, str] = {}
    for detail in details:
        place = _place(detail)
        if detail["type"] == "extra_forbidden":
            right = nearest(str(place[-1]), _keys_at(model, data, place[:-1]))
            parent = _inside(data, place[:-1])
            if right is not None and isinstance(parent, dict) and right not in parent:
                meant[place] = right
    return meant


def _names_of(model: type[BaseModel], key: str) -> list[str]:
    """Give all names of a key."""
    for field in model.model_fields.values():
        choices = getattr(field.validation_alias, "choices", ())
        if key in choices:
            return [str(choice) for choice in choices]
    return [key]


def _inside(data: Any, path: DocumentPath) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _what_is_right(data: Any, details: list[ErrorDetails], changed: _Changed, meant: Mapping[DocumentPath, str]) -> Any:
    """Leave out what is wrong, rename what is misspelt, and put a mark in place of a missing text."""
    data = copy.deepcopy(data)
    # From the end, so that what is taken out of a list does not move what is still to be taken out.
    for detail in sorted(details, key=lambda detail: [str(part).zfill(9) for part in _place(detail)], reverse=True):
        *above, last = _place(detail) or ("",)
        parent = _inside(data, tuple(above))
        if isinstance(parent, dict) and detail["type"] == "missing":
            parent[last] = UNNAMED
        elif isinstance(parent, dict) and (right := meant.get(_place(detail))) is not None:
            parent[right] = parent.pop(last)
        elif isinstance(parent, dict):
            parent.pop(last, None)
            changed.objects.add(tuple(above))
        elif isinstance(parent, list) and isinstance(last, int) and last < len(parent):
            del parent[last]
            changed.lists.add(tuple(above))
    return data


def _did_you_mean(given: object, words: list[str]) -> str:
    suggestion = closest(str(given), words)
    return suggestion if suggestion.startswith("did") else ""


def _may_become_right(detail: ErrorDetails) -> bool:
    structural = detail["type"] in ("extra_forbidden", "missing")
    given = detail["input"]
    return not structural and isinstance(given, str) and is_template(given)


def _is_union_tag(part: str | int) -> bool:
    # pydantic names the member of a union in the location (`function-after[…]`, `list[str]`, `str`); a document has no such key.
    return isinstance(part, str) and (part in _SIMPLE or "[" in part)


_SIMPLE = frozenset({"str", "int", "float", "bool", "constrained-str", "constrained-int", "date", "datetime"})


def _keys_at(model: type[BaseModel], data: Any, inside: DocumentPath) -> set[str]:
    return {*(fields_of(type_at(model, inside, data), _inside(data, inside)) or ())}


def _shown(value: object) -> str:
    names = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return names.get(type(value)) or repr(value)
