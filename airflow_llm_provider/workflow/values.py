"""How JSON values behave: as text, as a truth value, compared, and taken apart.

Templates and expressions share these rules, and so do the transforms, so that a value means the same wherever it is used.
Only JSON's own types are known (None, bool, int, float, str, list, dict); nothing here touches an attribute of a value.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal

from airflow_llm_provider.errors import ExpressionError

__all__ = ["Comparison", "compare", "describe", "equal", "from_json", "get_item", "to_json", "to_text", "truthy"]

Comparison = Literal["<", "<=", ">", ">="]

_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
_MAX_KEY = 10**300
_NUMBER = re.compile(r"\s*-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?\s*")


def to_json(value: object) -> str:
    """Write a value as JSON, non-ASCII characters as they are.

    Args:
        value: Any JSON value. What JSON cannot hold becomes its text, NaN and the infinities become ``null``.

    Raises:
        ExpressionError: The value is nested too deep, contains itself, or holds a number of thousands of digits.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except RecursionError:
        raise ExpressionError("the value is nested too deep to be written as JSON") from None
    except (ValueError, TypeError):
        # One of: NaN or an infinity, a key that is no text, a number of too many digits, a value that contains itself.
        pass
    try:
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=str)
    except (RecursionError, ValueError):
        raise ExpressionError("the value cannot be written as JSON") from None


def to_text(value: object) -> str:
    """Give the text that a value turns into where text is written.

    Args:
        value: Any JSON value.

    Returns:
        Text as it is, nothing for null, everything else as JSON.

    Raises:
        ExpressionError: The value cannot be written as JSON.
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, (bool, int, float, list, tuple, dict)):
        return to_json(value)
    return str(value)


def truthy(value: object) -> bool:
    """Tell whether a value counts as true: all but false, 0, ``""``, null and empty lists and objects."""
    return bool(value)


def equal(a: object, b: object) -> bool:
    """Tell whether two values are equal.

    Numbers are compared by value (``5 == 5.0``), text with a number or a boolean by text (``"5" == 5``), lists and objects
    member by member. A boolean never equals a number, and null equals only null.

    Args:
        a: One value.
        b: The other.
    """
    if isinstance(a, str) or isinstance(b, str):
        if isinstance(a, (str, bool, int, float)) and isinstance(b, (str, bool, int, float)):
            return to_text(a) == to_text(b)
        return False
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(member, b[key]) for key, member in a.items())
    return a == b


def compare(a: object, b: object, op: Comparison) -> bool:
    """Tell whether two values stand in an order.

    Two numbers are compared by value and two texts by their characters. Text beside a number is compared as a number if it
    reads as one, because what a model answers is text even where it is a score.

    Args:
        a: The left value.
        b: The right value.
        op: The order asked for.

    Returns:
        False for everything else, such as null, booleans, lists and objects.
    """
    left, right = _comparable(a, b), _comparable(b, a)
    if isinstance(left, str) and isinstance(right, str):
        order = (left > right) - (left < right)
    elif isinstance(left, (int, float)) and isinstance(right, (int, float)):
        if left != left or right != right:
            return False
        order = (left > right) - (left < right)
    else:
        return False
    if op == "<":
        return order < 0
    if op == "<=":
        return order <= 0
    if op == ">":
        return order > 0
    return order >= 0


def get_item(value: object, key: object) -> object:
    """Take one member out of a value.

    Args:
        value: An object or a list; anything else has no members.
        key: The member's key, or an index counted from 0. A number finds the key of an object that is written like it, and
            text that is a number finds the item of a list.

    Returns:
        The member; None if there is none.
    """
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    if isinstance(value, dict):
        if isinstance(key, str):
            return value.get(key)
        # Python refuses to write a number of thousands of digits.
        is_writable = isinstance(key, int) and not isinstance(key, bool) and abs(key) < _MAX_KEY
        return value.get(str(key)) if is_writable else None
    if isinstance(value, (list, tuple)):
        if isinstance(key, str) and _INDEX.fullmatch(key):
            key = int(key)
        # A negative index is a mistake in a computation far more often than a wish for the last item.
        if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(value):
            item: object = value[key]
            return item
    return None


def describe(value: object) -> str:
    """Name the kind of a value for an error message, as in ``a list``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, dict) else "a list"


def _comparable(value: object, other: object) -> object:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and isinstance(other, (int, float)):
        return float(value) if _NUMBER.fullmatch(value) else None
    return value


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(text: str) -> Any:
    """Read JSON, and nothing that only Python takes for it.

    Args:
        text: The text.

    Raises:
        ValueError: It is no JSON, holds a number that no double is, or nests too deep.
    """

    def refuse(name: str) -> object:
        raise ValueError(f"{name} is no JSON")

    def number(digits: str) -> float:
        if not math.isfinite(value := float(digits)):
            raise ValueError(f"{digits[:40]} is too large a number")
        return value

    try:
        return json.loads(text, parse_constant=refuse, parse_float=number)
    except RecursionError:
        raise ValueError("it nests too deep") from None
