"""Workflow files with faults put in at random: each is read or refused, and none breaks the reader."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dag_factory import read_text
from dag_factory.loader import WorkflowErrors, load_dags, raise_errors
from tests.conftest import EXAMPLES

FILES = [path.read_text() for path in EXAMPLES]

VALUES: list[Any] = [
    None, True, -1, 1e308, 10**30, "", "x", "{{", "${{", "{{ a.b }}", "${{ a }}", "a" * 300, "2020-01-01", "- x", float("nan"),
    [], {}, [1], [[]], [None], {"a": {"b": [1]}}, {"": 1}, {1: 2}, {None: 3},
]  # fmt: skip

CHARACTERS = ["", "{", "}", "'", '"', ":", "-", "#", "\t", "&a", "*a", "!", "|", "\n", "%", "@", "\x07", "\u2028"]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Walk over every container with each of its keys or indexes."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


def mutated_data(chance: random.Random) -> str:
    data = yaml.safe_load(chance.choice(FILES))
    container, key = chance.choice(list(places(data)))
    what = chance.random()
    if what < 0.7:
        container[key] = chance.choice(VALUES)
    elif what < 0.85:
        del container[key]
    elif isinstance(container, dict):
        container[f"{key}{chance.choice('xyz_')}"] = container.pop(key)
    return str(yaml.safe_dump(data, allow_unicode=True, sort_keys=False))


def mutated_text(chance: random.Random) -> str:
    text = list(chance.choice(FILES))
    for _ in range(chance.choice([1, 2, 5])):
        text[chance.randrange(len(text))] = chance.choice(CHARACTERS)
    return "".join(text)


def mutated_block(chance: random.Random) -> str:
    """Break off a block scalar of a prompt, inside of its last tag."""
    prompt = chance.choice(["{{ inputs.a", "${{ inputs.a +", "{{#if inputs.a}}", "{{/if}}", "${{ 'a", "{{ a.", "{{{{"])
    style = chance.choice(["|", "|-", "|+", ">", ">-"])
    return (
        f"name: bad\nsteps:\n  - id: a\n    type: action\n    action: log\n    message: {style}\n      text\n\n      {prompt}"
        + "\n" * chance.randrange(3)
    )


@pytest.mark.parametrize("mutate", [mutated_data, mutated_text, mutated_block])
@pytest.mark.parametrize("seed", range(10))
def test_a_faulty_file_is_read_or_refused_with_a_place(mutate: Any, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(30):
        text = mutate(chance)
        result = read_text("w.yaml", text)
        assert result.workflows or result.errors, text
        for problem in result.diagnostics:
            assert 1 <= problem.line <= text.count("\n") + 2, (problem, text)
            assert problem.column >= 1


@pytest.mark.parametrize("mutate", [mutated_data, mutated_text, mutated_block])
def test_a_faulty_file_takes_no_neighbour_with_it(mutate: Any, tmp_path: Path) -> None:
    chance = random.Random(1)
    (tmp_path / "good.yaml").write_text(GOOD)
    for _ in range(20):
        text = mutate(chance)
        (tmp_path / "bad.yaml").write_text(text)
        assert "good" in load_dags(tmp_path), text
        with contextlib.suppress(WorkflowErrors):
            raise_errors(tmp_path)


GOOD = "name: good\nsteps:\n  - {id: a, type: action, action: log, message: m}\n"
