"""What the plugin does in Airflow's processes."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import sys
from airflow_llm_provider.plugin import LLMProviderPlugin

class {component}:
    pass

names = ("airflow_llm_provider.operators.step", "dag_factory.loader", "lark", "json.tool")
before = {{*sys.modules}}
LLMProviderPlugin.listeners[0].on_starting(component={component}())
print(all(name in sys.modules for name in names), len({{*names}} & ({{*sys.modules}} - before)) > 0,
      [name for name in ("openai", "anthropic", "boto3") if name in sys.modules])
"""


def preloads(component: str) -> str:
    program = PROGRAM.format(component=component)
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ORCHESTRATOR_PRELOAD": "json.tool"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]


def test_components_preload_what_their_forks_need_and_no_vendor_sdk() -> None:
    assert preloads("Job") == "True True []"


def test_a_task_process_preloads_nothing() -> None:
    assert preloads("TaskRunnerMarker") == "False False []"
