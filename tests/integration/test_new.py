"""``llm-orchestrator new``: what it writes is valid and runs as it is."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from airflow_llm_provider.files.documents import parse
from dag_factory import read_file
from tests.integration.test_cli import orchestrator

MADE = [
    ("Workflow", None, "steps"),
    ("Workflow", "steps", "steps"),
    ("Workflow", "v1", "v1"),
    ("CronWorkflow", None, "steps"),
    ("CronWorkflow", "v1", "v1"),
    ("EventWorkflow", None, "v1"),
    ("Template", "v1", "v1"),
]


@pytest.mark.parametrize(("kind", "notation", "written"), MADE)
def test_it_is_valid_and_runs(tmp_path: Path, kind: str, notation: str | None, written: str) -> None:
    asked = ["--notation", notation] if notation else []
    done = orchestrator("new", "my-flow", "--dir", str(tmp_path), "--kind", kind, *asked)
    path, sample, schema = (tmp_path / name for name in ("my-flow.yaml", "my-flow.input.json", "workflow.schema.json"))
    assert (done.returncode, done.stdout.split()) == (0, [str(path), str(sample), str(schema)])
    checked = orchestrator("validate", "--strict", str(tmp_path))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"my-flow, 3 steps, {written} notation: valid" in checked.stdout
    text = path.read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=workflow.schema.json\n")
    [document] = parse(str(path), text).documents
    jsonschema.Draft7Validator(json.loads(schema.read_text("utf-8"))).validate(document.data)
    done = orchestrator("run", str(path), "--input", str(sample), "--offline", "--output", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {name: step["state"] for name, step in result["steps"].items()} == dict.fromkeys(
        ("summarize", "count", "headline"), "completed"
    )
    assert result["outputs"].keys() == {"summary", "headline"}
    assert "museum" in result["outputs"]["summary"]


def test_a_scheduled_one_needs_no_input(tmp_path: Path) -> None:
    orchestrator("new", "nightly", "--dir", str(tmp_path), "--kind", "CronWorkflow")
    done = orchestrator("run", str(tmp_path / "nightly.yaml"), "--offline", "--output", "json")
    assert json.loads(done.stdout)["steps"]["headline"]["state"] == "skipped"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    for name in ("a.yaml", "a.input.json", "workflow.schema.json"):
        (tmp_path / name).write_text("mine")
    done = orchestrator("new", "a", "--dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "a.yaml and " in done.stderr
    assert "a.input.json would be overwritten; choose another name, or add --force" in done.stderr
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}
    # The folder's schema stays when another workflow is begun.
    assert orchestrator("new", "b", "--dir", str(tmp_path)).returncode == 0
    assert (tmp_path / "workflow.schema.json").read_text() == "mine"
    assert orchestrator("new", "a", "--dir", str(tmp_path), "--force").returncode == 0
    assert "mine" not in {path.read_text() for path in tmp_path.iterdir()}


NAMES = [
    ("my flow", "'my flow' cannot name a DAG; ", ", such as 'my-flow'"),
    ("../x", "'../x' cannot name a DAG; ", ", such as 'x'"),
    (".hidden", "'.hidden' cannot name a DAG; ", ", such as 'hidden'"),
    ("", "'' cannot name a DAG; ", "and a letter or digit first"),
    ("ü", "'ü' cannot name a DAG; ", "and a letter or digit first"),
    ("x" * 201, "cannot name a DAG; ", "'"),
    ("a.test", "'a.test' cannot name a workflow: a file *.test.yaml is none", ""),
]


@pytest.mark.parametrize(("name", "begin", "end"), NAMES, ids=lambda value: value[:10])
def test_names_that_no_workflow_can_have(tmp_path: Path, name: str, begin: str, end: str) -> None:
    done = orchestrator("new", "--dir", str(tmp_path), "--", name)
    assert done.returncode == 2
    assert begin in done.stderr
    assert done.stderr.rstrip("\n").endswith(end)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["123", "true", "No", "1e5", "a.b_c-d"])
def test_names_that_yaml_would_read_as_something_else(tmp_path: Path, name: str) -> None:
    assert orchestrator("new", name, "--dir", str(tmp_path)).returncode == 0
    assert [workflow.name for workflow in read_file(tmp_path / f"{name}.yaml").workflows] == [name]


def test_a_kind_that_the_notation_does_not_have(tmp_path: Path) -> None:
    done = orchestrator("new", "a", "--dir", str(tmp_path), "--kind", "Template", "--notation", "steps")
    assert done.returncode == 2
    assert done.stderr == "llm-orchestrator: the steps notation has no kind 'Template'; write it with --notation v1\n"
