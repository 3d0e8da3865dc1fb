"""What the plugin does in Airflow's processes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from airflow_llm_provider.plugin import LLMProviderPlugin, PRELOADED

class {component}:
    pass

before = {{*sys.modules}}
LLMProviderPlugin.listeners[0].on_starting(component={component}())
print(all(name in sys.modules for name in PRELOADED), len({{*PRELOADED}} & ({{*sys.modules}} - before)) > 0,
      [name for name in ("openai", "anthropic", "boto3") if name in sys.modules])
"""


def preloads(component: str) -> str:
    program = PROGRAM.format(component=component)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]


def test_components_preload_what_their_forks_need_and_no_vendor_sdk() -> None:
    assert preloads("Job") == "True True []"


def test_a_task_process_preloads_nothing() -> None:
    assert preloads("TaskRunnerMarker") == "False False []"
