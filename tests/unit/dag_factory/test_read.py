"""Which files are workflow files, and what a folder of them gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from dag_factory import read_folder, read_text
from dag_factory.read import find_files

STEPS = "steps:\n  - {id: a, type: action, action: log, message: m}\n"


def test_the_files_of_a_folder(tmp_path: Path) -> None:
    names = ["b.yaml", "a.yml", "c.json", "sub/d.yaml", ".hidden.yaml", ".git/e.yaml", "a.input.json", "notes.txt"]
    names += ["workflow.schema.json", "a.test.yaml", "a.test.yml"]
    for name in [*names, "values/f.yaml", "sub/other/g.yaml", "sub/h.tmp.yaml"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("name: x")
    (tmp_path / ".airflowignore").write_text("# charts\nvalues/\n*.tmp.yaml\n")
    (tmp_path / "sub" / ".airflowignore").write_text("other\n")
    assert [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)] == [
        "a.yml",
        "b.yaml",
        "c.json",
        "sub/d.yaml",
    ]


@pytest.mark.parametrize("line", ["!", "**foo\\", "a[z-a]", "[", "\\"])
def test_a_line_of_airflowignore_that_cannot_be_read_hides_nothing(tmp_path: Path, line: str) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("name: x")
    (tmp_path / ".airflowignore").write_text(f"{line}\nb.yaml\n")
    assert [path.name for path in find_files(tmp_path)] == ["a.yaml"]


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.yaml").write_text("name: x")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "dags")
    assert [str(path.relative_to(tmp_path)) for path in find_files(tmp_path / "dags")] == ["dags/linked/a.yaml"]


def test_1_500_errors_are_told() -> None:
    steps = "".join(
        f"  - {{id: step{n}, type: action, action: log, message: '{{{{ steps.stop{n} }}}}'}}\n" for n in range(1500)
    )
    assert len(read_text("w.yaml", f"name: x\nsteps:\n{steps}").errors) == 1500


def test_steps_are_bounded() -> None:
    steps = "".join(f"- {{id: s{n}, type: action, action: log, message: m}}\n" for n in range(10_001))
    [error] = read_text("w.yaml", f"name: x\nsteps:\n{steps}").errors
    assert str(error) == (
        "w.yaml:10003:3: the workflow has 10,001 steps; at most 10,000 are allowed; split it, or use a fan-out"
    )


def test_json_and_several_documents() -> None:
    text = '{"name": "one", "steps": [{"id": "a", "type": "action", "action": "log", "message": "m"}]}'
    assert [workflow.name for workflow in read_text("w.json", text).workflows] == ["one"]
    result = read_text("w.yaml", f"name: one\n{STEPS}---\nname: two\n{STEPS}---\nname: bad\n")
    assert [workflow.name for workflow in result.workflows] == ["one", "two"]
    assert [str(item) for item in result.errors] == ["w.yaml:9:1: missing key 'steps'; add 'steps'"]


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"name: \0\1")
    (tmp_path / "latin.yaml").write_bytes("name: x\ndescription: é\n".encode("latin-1"))
    (tmp_path / "large.yaml").write_bytes(b"#" * (10 * 1024 * 1024 + 1))
    (tmp_path / "good.yaml").write_text(f"\ufeffname: good\n{STEPS}")
    result = read_folder(tmp_path)
    assert [workflow.name for workflow in result.workflows] == ["good"]
    assert [str(item).removeprefix(f"{tmp_path}/") for item in result.errors] == [
        "binary.yaml:1:1: this is a binary file, not YAML; take it out of the folder, or save it as UTF-8 text",
        "large.yaml:1:1: the file has 10,485,761 bytes; at most 10,485,760 are read; split it",
        "latin.yaml:2:1: byte 0xe9 is not UTF-8; save the file as UTF-8",
    ]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    [problem] = read_text("w.yaml", "\n".join(lines)).errors
    assert problem.message == "the document holds more than 1,000,000 values once its aliases are expanded"


def test_text_means_what_yaml_1_2_says() -> None:
    text = (
        "name: x\nsteps:\n  - {id: a, type: action, action: tell, answer: no, day: 2026-01-31, time: 12:30, off: on}\n"
    )
    [workflow] = read_text("w.yaml", text).workflows
    assert workflow.steps[0].inputs == {
        "action": "tell",
        "answer": "no",
        "day": "2026-01-31",
        "time": "12:30",
        "off": "on",
    }
