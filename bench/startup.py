"""What starting costs: the command line, the provider's import, and a task's look for its DAG among a thousand files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from parse import write_files

RUN = """\
name: two-steps
steps:
  - {id: a, provider: scripted, model: m, prompt: one}
  - {id: b, provider: scripted, model: m, prompt: "two {{ steps.a.output }}"}
"""

TASK_START = """
import os, time
os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "workflow-0777"
import airflow.sdk, dag_factory.loader
started = time.perf_counter()
dags = dag_factory.loader.load_dags({folder!r})
print(time.perf_counter() - started)
assert list(dags) == ["workflow-0777"]
"""

IMPORT = """
import time
import airflow.sdk
started = time.process_time()
import airflow_llm_provider.get_provider_info, airflow_llm_provider.plugin, airflow_llm_provider.policy
airflow_llm_provider.get_provider_info.get_provider_info()
print(time.process_time() - started)
"""


def best(command: list[str], runs: int) -> float:
    """Give the shortest wall time of a command in seconds."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return min(times)


def printed(code: str, runs: int) -> float:
    """Give the smallest number that a program prints."""
    command = [sys.executable, "-c", code]
    return min(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
        for _ in range(runs)
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "two-steps.yaml"
        file.write_text(RUN)
        python = best([sys.executable, "-c", "pass"], 10)
        run = best([str(Path(sys.executable).with_name("llm-orchestrator")), "run", str(file)], 10)
        print(f"llm-orchestrator run, two scripted steps: {run:.3f} s wall (an empty Python process: {python:.3f} s)")
        print(f"import of the provider above airflow.sdk: {printed(IMPORT, 3) * 1000:.1f} ms CPU")
        write_files(folder, 1000)
        start = printed(TASK_START.format(folder=str(folder / "ours")), 3)
        print(f"finding and building one DAG among 1000 files: {start:.3f} s")


if __name__ == "__main__":
    main()
