"""The helpers that a Handlebars tag may call: comparisons, logic, ``len`` and ``lookup``."""

from __future__ import annotations

from airflow_llm_provider.spelling import nearest
from airflow_llm_provider.workflow.functions import FUNCTIONS, Function
from airflow_llm_provider.workflow.values import compare, get_item, truthy

__all__ = ["HELPERS", "find_problem"]


def find_problem(name: str, given: int) -> str:
    """Tell what is wrong with a call.

    Args:
        name: The helper's name.
        given: How many values it is given.

    Returns:
        The message; empty if nothing is wrong.
    """
    helper = HELPERS.get(name)
    if helper is None:
        if name in FUNCTIONS:
            return f"unknown helper {name!r}; it is a function of expressions: write ${{{{ {name}(…) }}}}"
        near = nearest(name, HELPERS)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(HELPERS)}"
        return f"unknown helper {name!r}; {hint}"
    if given < helper.least or (helper.most is not None and given > helper.most):
        needed = f"at least {helper.least}" if helper.most is None else str(helper.least)
        return f"helper {name!r} takes {needed} value{'s' * (helper.least != 1)}, got {given}"
    return ""


def _same(a: object, b: object) -> bool:
    # Stricter than an expression's `==`: Handlebars compares JSON as it is written, so 5 is not 5.0 and not "5".
    if type(a) is not type(b):
        return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(member, b[key]) for key, member in a.items())
    return a == b


def _length(value: object) -> int:
    return len(value) if isinstance(value, (str, list, tuple, dict)) else 0


HELPERS: dict[str, Function] = {
    "and": Function(lambda *values: all(map(truthy, values)), 2, None),
    "eq": Function(_same, 2, 2),
    "gt": Function(lambda a, b: compare(a, b, ">"), 2, 2),
    "gte": Function(lambda a, b: compare(a, b, ">="), 2, 2),
    "len": Function(_length, 1, 1),
    "lookup": Function(get_item, 2, 2),
    "lt": Function(lambda a, b: compare(a, b, "<"), 2, 2),
    "lte": Function(lambda a, b: compare(a, b, "<="), 2, 2),
    "ne": Function(lambda a, b: not _same(a, b), 2, 2),
    "not": Function(lambda value: not truthy(value), 1, 1),
    "or": Function(lambda *values: any(map(truthy, values)), 2, None),
}
"""Every helper by its name. ``and`` and ``or`` give a boolean, unlike the operators of expressions."""
