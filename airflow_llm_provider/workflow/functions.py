"""What the expression language can compute: its functions and its arithmetic.

Each function takes JSON values and gives one, or says what it needed and what it got. Results are bounded, because a workflow
file must not be able to fill the memory of the worker that evaluates it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from airflow_llm_provider.errors import ExpressionError
from airflow_llm_provider.workflow.values import describe, equal, from_json, to_json, to_text

__all__ = ["FUNCTIONS", "MAX_ITEMS", "MAX_TEXT", "Function", "calculate", "negate"]

MAX_TEXT = 10_000_000
"""Most characters that a computed text may have."""

MAX_ITEMS = 1_000_000
"""Most items that a computed list may have."""

_MAX_NUMBER = 10**300
_MAX_DIGITS = 15
_PLACEHOLDER = re.compile(r"\$\{[^{}]*\}|\{([0-9]{0,4})\}")


@dataclass(frozen=True, slots=True)
class Function:
    """A function that expressions may call.

    Attributes:
        run: Computes the result from the evaluated arguments.
        least: Fewest arguments.
        most: Most arguments; None for any number.
    """

    run: Callable[..., object]
    least: int
    most: int | None


def calculate(op: str, left: object, right: object) -> object:
    """Apply ``+ - * / %``.

    Args:
        op: The operator. ``+`` also joins text, if either side is text, and lists.
        left: The left operand.
        right: The right operand.

    Returns:
        A number, text or list. Whole numbers give a whole number where the result is one; the remainder has the sign of the
        left operand.

    Raises:
        ExpressionError: The operator does not fit the operands, a division by zero, or a result that is too large.
    """
    if op == "+":
        if isinstance(left, str) or isinstance(right, str):
            return _join([to_text(left), to_text(right)])
        if isinstance(left, list) and isinstance(right, list):
            if len(left) + len(right) > MAX_ITEMS:
                raise ExpressionError(f"the result is a list of more than {MAX_ITEMS:,} items")
            return left + right
    if not (isinstance(left, (int, float)) and isinstance(right, (int, float))) or bool in (type(left), type(right)):
        needed = "numbers, text or lists" if op == "+" else "numbers"
        raise ExpressionError(f"{op!r} needs {needed}, got {describe(left)} and {describe(right)}")
    if op in "/%" and right == 0:
        raise ExpressionError(f"division by zero in {op!r}")
    return _number(_arithmetic(op, _number(left), _number(right)))


def negate(value: object) -> float:
    """Change a number's sign.

    Args:
        value: The number.

    Raises:
        ExpressionError: It is not a number.
    """
    return -_numeric("-", value)


def _arithmetic(op: str, left: float, right: float) -> float:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    whole = isinstance(left, int) and isinstance(right, int)
    if op == "%":
        if not whole:
            return math.fmod(left, right)
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    return left // right if whole and left % right == 0 else left / right


def _number(value: float) -> float:
    # `not <=` and not `>`, so that NaN is caught as well.
    if not abs(value) <= _MAX_NUMBER:
        raise ExpressionError("the result is too large for a number")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong(name: str, needed: str, value: object) -> ExpressionError:
    return ExpressionError(f"{name!r} needs {needed}, got {describe(value)}")


def _text(name: str, value: object) -> str:
    if isinstance(value, (list, tuple, dict)):
        raise _wrong(name, "text", value)
    return to_text(value)


def _numeric(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(name, "a number", value)
    return _number(value)


def _join(parts: Iterable[str], separator: str = "") -> str:
    kept: list[str] = []
    size = 0
    # Counted while the parts are made: all of them could be too much to hold.
    for part in parts:
        kept.append(part)
        size += len(part) + len(separator)
        if size > MAX_TEXT:
            raise ExpressionError(f"the result is longer than {MAX_TEXT:,} characters")
    return separator.join(kept)


def _format(template: object, *values: object) -> str:
    text = _text("format", template)
    parts: list[str] = []
    size = end = following = 0
    for match in _PLACEHOLDER.finditer(text):
        if match[1]:
            index = int(match[1])
        else:
            index, following = following, following + 1
        if index >= len(values):
            raise ExpressionError(f"'format' has no value for {match[0]!r}: it was given {len(values)}")
        parts += text[end : match.start()], to_text(values[index])
        end, size = match.end(), size + len(parts[-1])
        if size > MAX_TEXT:
            break
    return _join([*parts, text[end:]])


def _replace(text: object, old: object, new: object) -> str:
    whole, searched = _text("replace", text), _text("replace", old)
    if not searched:
        raise ExpressionError("'replace' needs a text to search for, got an empty one")
    return _join(whole.split(searched), _text("replace", new))


def _contains(value: object, item: object) -> bool:
    if isinstance(value, (list, tuple)):
        return any(equal(member, item) for member in value)
    if isinstance(value, dict):
        return to_text(item) in value
    return value is not None and _text("contains", item) in to_text(value)


def _round(value: object, digits: object = 0) -> float:
    number, places = _numeric("round", value), _numeric("round", digits)
    if places != int(places) or not 0 <= places <= _MAX_DIGITS:
        raise ExpressionError(f"'round' needs 0 to {_MAX_DIGITS} digits, got {digits!r}")
    if isinstance(number, int):
        return number
    # In decimal, so that halves round as they are written: round(1.005, 2) is 1.01.
    from decimal import ROUND_HALF_UP, Context, Decimal

    exponent = Decimal(1).scaleb(-int(places))
    rounded = Decimal(repr(number)).quantize(exponent, ROUND_HALF_UP, Context(prec=400))
    return float(rounded) if places else int(rounded)


def _extreme(name: str, pick: Callable[..., object], values: tuple[object, ...]) -> object:
    items = values[0] if len(values) == 1 and isinstance(values[0], (list, tuple)) else values
    if not items:
        raise ExpressionError(f"{name!r} needs at least one value, got an empty list")
    for item in items:
        if not (_is_number(item) or isinstance(item, str)) or isinstance(item, str) != isinstance(items[0], str):
            raise ExpressionError(f"{name!r} needs numbers only, or text only, got {describe(item)} among them")
    return pick(items)


def _bounded_json(value: object) -> str:
    return _join([to_json(value)])


def _from_json(text: object) -> object:
    if not isinstance(text, str):
        raise _wrong("fromJson", "text", text)

    try:
        return from_json(text)
    except ValueError as error:
        raise ExpressionError(f"'fromJson' got text that is no JSON: {error}") from None


def _length(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, (str, list, tuple, dict)):
        return len(value)
    raise _wrong("length", "text, a list or an object", value)


def _join_items(items: object, separator: object = ",") -> str:
    if items is None:
        return ""
    if not isinstance(items, (list, tuple)):
        raise _wrong("join", "a list", items)
    return _join((to_text(item) for item in items), _text("join", separator))


def _lazy(*values: object) -> object:
    raise AssertionError("evaluated by the call itself")  # pragma: no cover


FUNCTIONS: dict[str, Function] = {
    "ceil": Function(lambda value: math.ceil(_numeric("ceil", value)), 1, 1),
    "contains": Function(_contains, 2, 2),
    "default": Function(_lazy, 2, 2),
    "endsWith": Function(lambda text, end: _text("endsWith", text).endswith(_text("endsWith", end)), 2, 2),
    "floor": Function(lambda value: math.floor(_numeric("floor", value)), 1, 1),
    "format": Function(_format, 1, None),
    "fromJson": Function(_from_json, 1, 1),
    "if": Function(_lazy, 2, 3),
    "join": Function(_join_items, 1, 2),
    "length": Function(_length, 1, 1),
    "lower": Function(lambda text: _text("lower", text).lower(), 1, 1),
    "max": Function(lambda *values: _extreme("max", max, values), 1, None),
    "min": Function(lambda *values: _extreme("min", min, values), 1, None),
    "replace": Function(_replace, 3, 3),
    "round": Function(_round, 1, 2),
    "startsWith": Function(lambda text, start: _text("startsWith", text).startswith(_text("startsWith", start)), 2, 2),
    "toJson": Function(_bounded_json, 1, 1),
    "trim": Function(lambda text: _text("trim", text).strip(), 1, 1),
    "upper": Function(lambda text: _text("upper", text).upper(), 1, 1),
}
"""Every function by its name."""
