"""What the property-based tests of the language draw from: syntax trees, JSON values, texts that look like templates."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from airflow_llm_provider.workflow.functions import FUNCTIONS
from airflow_llm_provider.workflow.syntax import Binary, Call, Literal, Member, Name, Node, Unary

NAMES = st.sampled_from(["a", "b", "größe", "x1", "_y", "steps"])
PARTS = st.sampled_from(["a", "true", "a-b", "x y", "", "'", '"', "1st", "é", "0"]) | st.integers(0, 10**8)
NUMBERS = st.integers(0, 10**20) | st.floats(0, 1e300)
LEAVES = st.one_of(
    st.builds(Literal, st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8"))),
    st.builds(lambda head, rest: Name((head, *rest)), NAMES, st.lists(PARTS, max_size=3)),
)


def _compound(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    operators = st.sampled_from(["||", "&&", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%"])
    computed = inner.filter(lambda node: not isinstance(node, (Name, Literal)))
    calls = st.sampled_from(sorted(FUNCTIONS)).flatmap(
        lambda name: st.builds(
            lambda arguments: Call(name, tuple(arguments)),
            st.lists(inner, min_size=FUNCTIONS[name].least, max_size=FUNCTIONS[name].most or 3),
        )
    )
    return st.one_of(
        st.builds(Unary, st.sampled_from(["!", "-"]), inner),
        st.builds(Binary, operators, inner, inner),
        st.builds(Member, inner, computed),
        calls,
    )


TREES = st.recursive(LEAVES, _compound, max_leaves=8)
"""Syntax trees of expressions."""

LOOKALIKES = st.sampled_from([
    "{{ a }}", "${{ a }}", "{% raw %}", "{# #}", "{{#if a}}", "{{{{raw}}}}", "\\{{a}}", "}}", "{", "$", "${a}", "{}", "{0}", "~",
    "{0.__class__}", "%s", "\\", "\\1", "\\g<0>", "'", '"', "''", "\n", "\ud800", "secrets.x", "no", "0", "1e999",
])  # fmt: skip
TEXTS = st.text(max_size=8) | st.lists(st.text(max_size=3) | LOOKALIKES, max_size=5).map("".join)
"""Texts, many of which a template language would take for its own."""

_NUMBERS = st.integers() | st.sampled_from([10**400, -(10**400)]) | st.floats(allow_nan=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "0"]) | TEXTS, inner, max_size=4)
    ),
    max_leaves=10,
)
"""Any JSON value, and numbers that only Python can hold."""

SCOPES = st.dictionaries(st.sampled_from(["a", "b", "größe", "x1", "_y", "steps"]), VALUES)
"""What a resolver may find behind the names that the syntax trees use."""
