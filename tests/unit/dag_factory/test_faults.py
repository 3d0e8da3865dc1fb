"""One fault in a good file gives an error on its line, few others, and takes no neighbour along."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from dag_factory import load_dags, read_text
from tests.conformance.cases import CASES
from tests.conftest import EXAMPLES
from tests.unit.dag_factory.faults import KINDS, Fault, File, faults

FILES = [
    *(File(path.stem, path.read_text("utf-8")) for path in EXAMPLES),
    *(File(f"case {case.name}", case.text) for case in CASES),
]

FAULTS = [*faults(FILES)]

MOST = 3
"""Errors that one fault may give: a provider that three steps use, a reference and what waits for it."""


def what_is_wrong(fault: Fault) -> str:
    """Say in what the diagnostics of a faulty file are not as they should be; empty when they are."""
    result = read_text("w.yaml", fault.text)
    told = result.diagnostics if fault.warns else result.errors
    found = "\n".join(map(str, result.diagnostics))
    if not any(item.line in fault.lines for item in told):
        return f"nothing is told of lines {fault.lines}:\n{found}"
    if len(result.errors) > MOST:
        return f"{len(result.errors)} errors for one fault:\n{found}"
    return ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_told_on_its_line(fault: Fault) -> None:
    assert what_is_wrong(fault) == ""


def test_there_are_faults_of_every_kind() -> None:
    assert len(FAULTS) >= 200
    for kind, change in KINDS.items():
        assert [*change(FILES[0]), *(fault for file in FILES for fault in change(file))], kind


def test_a_fault_in_a_published_file_is_told_on_its_line(corpus: Path) -> None:
    files = [File(path.stem, path.read_text("utf-8")) for path in sorted((corpus / "workflows").glob("*.yaml"))]
    good = [file for file in files if not read_text("w.yaml", file.text).errors]
    wrong = {fault.name: what_is_wrong(fault) for fault in faults(good)}
    assert len(wrong) > 200
    assert {name: reason for name, reason in wrong.items() if reason} == {}


GOOD = "name: good\nsteps:\n  - {id: a, type: action, action: log, message: m}\n"

BY_FILE: dict[str, list[Fault]] = defaultdict(list)
for _fault in FAULTS:
    BY_FILE[_fault.file].append(_fault)


@pytest.mark.parametrize("file", BY_FILE)
def test_a_faulty_file_takes_no_neighbour_along(file: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    for number, fault in enumerate(BY_FILE[file]):
        (tmp_path / f"bad{number}.yaml").write_text(fault.text)
    dags = load_dags(tmp_path)
    assert "good" in dags
