"""Every workflow that the documentation shows is read and run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.approval import Answer, Question
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from dag_factory import read_text
from tests.conftest import REPOSITORY

_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EXAMPLES = {
    f"{path.relative_to(REPOSITORY)}:{text[: match.start()].count(chr(10)) + 1}": match[1]
    for path in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    for text in [path.read_text("utf-8")]
    for match in _BLOCK.finditer(text)
    if re.match(r"(#.*\n)*(name|apiVersion):", match[1])
}

INPUTS = {"name": "Ann", "tone": "loud", "texts": ["tea", "coffee"]}
"""What examples need that give no defaults."""


async def yes(question: Question) -> Answer:
    """Approve whatever is asked."""
    return Answer(approved=True, by="somebody")


@pytest.mark.parametrize("place", EXAMPLES)
async def test_example(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    result = read_text("example.yaml", EXAMPLES[place])
    assert not result.diagnostics, "\n".join(item.excerpt() for item in result.diagnostics)
    for workflow in result.workflows:
        required = {item.name: INPUTS.get(item.name, "text") for item in workflow.inputs if item.required}
        async with Runtime(settings=Settings(), offline=True, ask=yes) as runtime:
            run = await run_workflow(workflow, required, runtime)
        assert run.state == "completed", run.error
