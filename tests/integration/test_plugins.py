"""What another installed package adds to workflows: executors and tools, by entry points alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = '''
from typing import ClassVar

from airflow_llm_provider.engine.executor import Executor, Inputs


class ShoutInputs(Inputs):
    """What to shout."""

    text: str
    times: int = 1


class Shout(Executor[ShoutInputs]):
    """Shouts."""

    outputs: ClassVar[tuple[str, ...]] = ("shouted", "length")
    Inputs = ShoutInputs

    async def run(self, inputs, context):
        shouted = " ".join([inputs.text.upper() + "!"] * inputs.times)
        return {"shouted": shouted, "length": len(shouted)}


def lookup(*, word: str, limit: int = 3) -> list[str]:
    """Give a word a few times."""
    return [word] * limit
'''

ENTRY_POINTS = """
[airflow_llm_provider.executors]
acme:shout = acme_shout:Shout

[airflow_llm_provider.tools]
acme-lookup = acme_shout:lookup
"""

WORKFLOW = """
apiVersion: orchestrator.llm/v1
kind: Workflow
metadata: {name: acme}
spec:
  inputs: [{name: word, type: string, default: hello}]
  tasks:
    - id: shout
      type: custom
      executor: acme:shout
      inputs: {text: "${{ inputs.word }}", times: 2}
      outputs: {shouted: string, length: integer}
    - id: look
      type: custom
      executor: llm-forge:tool:acme-lookup
      inputs: {word: "${{ tasks.shout.outputs.length }}", limit: 2}
  outputs: {shouted: "${{ tasks.shout.outputs.shouted }}", found: "${{ tasks.look.outputs.result }}"}
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Install a package as an installer does: a module, and its metadata beside it."""
    site = tmp_path / "site"
    metadata = site / "acme_shout-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "acme_shout.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-shout\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


def orchestrator(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_llm_provider.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_an_executor_and_a_tool_of_another_package(installed: Path, tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(WORKFLOW)
    done = orchestrator(installed, "run", str(path), "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == {"shouted": "HELLO! HELLO!", "found": ["13", "13"]}


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("acme:shuot", "acme:shout", "no executor is called 'acme:shuot'; did you mean 'acme:shout'?"),
        ("acme-lokup", "acme-lookup", "no tool is called 'acme-lokup'; did you mean 'acme-lookup'?"),
        ("timse: 2", "times: 2", "unknown key 'timse'; did you mean 'times'?"),
        ("times: many", "times: 2", "'times' must be a whole number, not 'many'"),
    ],
)
def test_they_are_checked_like_our_own(installed: Path, tmp_path: Path, wrong: str, right: str, message: str) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(WORKFLOW.replace(right, wrong))
    done = orchestrator(installed, "validate", str(path))
    assert done.returncode == 2
    assert message in done.stderr
