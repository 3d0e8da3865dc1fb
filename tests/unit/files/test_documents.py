"""From a place in the data back to a line and a column, and what a file may hold."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from airflow_llm_provider.files.documents import parse

SCALARS = {
    "folded": ("a: >\n  some folded\n  text {{ bad\n", "3:8"),
    "folded and indented": ("a:\n    - >-\n      some\n\n      text {{ bad\n", "5:12"),
    "double quoted with escapes": ('a: "tab \\t \\u0041 \\" {{ bad"\n', "1:22"),
    "double quoted over two lines": ('a: "one \\\n  two\n  {{ bad"\n', "3:3"),
    "single quoted": ("a: 'it''s {{ bad'\n", "1:11"),
    "plain over two lines": ("a: one\n  two {{ bad\n", "2:7"),
    "repeated lines": ("a: |\n  {{ x }}\n  {{ x }}\n\n  {{ bad\n", "5:3"),
    "block with indentation indicator": ("a: |2-\n    deep {{ bad\n", "2:10"),
    "behind a byte order mark": ("a: {{ bad".replace("{{", "'{{") + "'\n", "1:5"),
}


@pytest.mark.parametrize("name", SCALARS)
def test_a_place_in_a_scalar(name: str) -> None:
    text, expected = SCALARS[name]
    [document] = parse("w.yaml", text).documents
    value = document.data["a"]
    path: tuple[str | int, ...] = ("a",)
    if isinstance(value, list):
        path, value = ("a", 0), value[0]
    found = document.diagnostic("wrong", path, offset=value.rindex("{{"))
    assert f"{found.line}:{found.column}" == expected
    assert found.text[found.column - 1 :].startswith("{{")


REFUSED = {
    "too deep": ("a: " + "[" * 200 + "]" * 200, "1:103: the document nests more than 100 levels deep"),
    "a number that no double is": ("a: 1\n---\nb: 1e999\n", "3:4: 1e999 is too large a number"),
    "a number of many digits": ("b: " + "9" * 5000, f"1:4: {'9' * 40}… is too large a number"),
    "a control character": (
        "a: 1\n---\nb: \x01",
        "3:4: 0x0001 is a control character, which YAML does not take; delete it",
    ),
    "a key that is a list": ("[a, b]: 1", "1:1: a key is a text, not a list or a mapping"),
    "a key given twice": ("a: 1\n1: 2\n'1': 3\n", "3:1: key '1' is given twice; first in line 2"),
    "aliases that grow": (
        "a: &a [1, 1]\nb: &b [" + "*a, " * 900 + "]\nc: [" + "*b, " * 900 + "]\n",
        "1:1: the document holds more than 1,000,000 values once its aliases are expanded",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    text, expected = REFUSED[name]
    [error] = parse("w.yaml", text).errors
    assert str(error) == f"w.yaml:{expected}"


def test_what_stands_before_an_error_is_kept() -> None:
    parsed = parse("w.yaml", "a: 1\n---\nb: \x01")
    assert [item.data for item in parsed.documents] == [{"a": 1}]
    assert [item.data for item in parse("w.yaml", "a: 1\n---\nb: 1e999").documents] == [{"a": 1}]


def test_keys_are_texts() -> None:
    [document] = parse("w.yaml", "true: a\n1: b\n~: c\n1.50: d\n").documents
    assert document.data == {"true": "a", "1": "b", "~": "c", "1.50": "d"}


def test_no_depth_takes_the_process_along() -> None:
    program = textwrap.dedent(
        """
        from airflow_llm_provider.files.documents import parse
        for text in ("[" * 300_000, "- " * 300_000 + "x", "{a: " * 300_000, "? " * 300_000):
            [error] = parse("w.yaml", text).errors
            print(error.message[:60])
        """
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.returncode
    assert ran.stdout.splitlines() == ["the document nests more than 100 levels deep"] * 4


def test_a_long_line_is_not_repeated_whole() -> None:
    [error] = parse("w.yaml", "a: " + "[" * 300_000).errors
    assert len(error.excerpt()) < 2500
