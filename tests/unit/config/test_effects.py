"""Every key of the deployment guide does something, and a test shows it: the table in the docs is made here.

A test says with ``@pytest.mark.shows(KEY, ...)`` whose effect it shows.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from airflow_llm_provider.config.describe import describe
from tests.conftest import REPOSITORY

GUIDE = Path(__file__).parent / "files" / "guide.yaml"
PAGE = REPOSITORY / "docs" / "configuration.md"
CARRIED = "carried; not part of this version"


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """Give the dotted keys of a document."""
    for name, inner in value.items():
        if isinstance(inner, dict) and f"{prefix}{name}" not in describe():
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def shown() -> dict[str, list[str]]:
    """Give key to the tests that show its effect."""
    found: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.shows" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.shows":
                        for key in map(ast.literal_eval, decorator.args):
                            found.setdefault(key, []).append(f"{path.relative_to(REPOSITORY / 'tests')}::{node.name}")
    return found


def table() -> str:
    """Give the table of the docs."""
    tests, lines = shown(), ["| Key | Becomes, or is read by | Shown by |", "|---|---|---|"]
    for name in keys(yaml.safe_load(GUIDE.read_text(encoding="utf-8"))):
        key = describe()[name]
        told = [*([key.reader] if key.reader else ()), *(f"`{setting}`" for setting in key.settings)]
        proofs = "<br>".join(f"`{test}`" for test in tests.get(name, ()))
        lines.append(f"| `{name}` | {', '.join(told)} | {proofs} |")
    return "\n".join(lines) + "\n"


def test_a_test_shows_the_effect_of_every_key_of_the_guide() -> None:
    tests = shown()
    assert {*tests} <= {*describe()} | {"storage.s3"}, "a key that does not exist"
    missing = [
        name
        for name in keys(yaml.safe_load(GUIDE.read_text(encoding="utf-8")))
        if name not in tests and not describe()[name].reader.startswith(CARRIED)
    ]
    assert missing == []


def test_the_table_in_the_docs_is_true() -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, mark, _ = page.partition("<!-- keys of the guide, and the tests that show their effect -->\n")
    if os.environ.get("UPDATE_SNAPSHOTS"):
        PAGE.write_text(head + mark + table(), encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
    assert mark + table() in page, "run this test with UPDATE_SNAPSHOTS=1"
