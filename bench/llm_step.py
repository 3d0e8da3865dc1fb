"""What one LLM step costs a cold task process: CPU and wall, above an empty task, against common.ai's LLMOperator.

Each contender is a new process that imports the Task SDK's runner, as every task process has, then runs one operator with a minimal
context. The model is the simulator, over real HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from airflow_llm_provider.simulator import SimulatorServer

WORKFLOW = """\
name: bench
steps:
  - id: ask
    type: llm
    provider: openai
    model: gpt-4o-mini
    prompt: "Write two sentences about {{ inputs.topic }}."
    max_tokens: 100
"""

COMMON = """
import airflow.sdk.execution_time.task_runner, airflow.sdk.execution_time.supervisor
from datetime import datetime, timezone
from types import SimpleNamespace
class TI:
    xcoms = {}
    task_id = "ask"; dag_id = "bench"; run_id = "r"; map_index = -1; try_number = 1
    def xcom_push(self, key, value): self.xcoms[key] = value
    def xcom_pull(self, **kwargs): return None
run = SimpleNamespace(run_id="r", run_after=datetime.now(timezone.utc), triggering_user_name="me", conf={})
context = {"ti": TI(), "task_instance": TI(), "dag_run": run, "params": {"topic": "tea"}}
"""

EMPTY = (
    COMMON
    + """
from airflow.providers.standard.operators.empty import EmptyOperator
EmptyOperator(task_id="empty").execute(context)
"""
)

OURS = (
    COMMON
    + """
import os
os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "bench"
from dag_factory import load_dags
task = load_dags(os.environ["BENCH_FOLDER"])["bench"].task_dict["ask"]
task.render_template_fields(context)
assert task.execute(context)["output"]
assert context["ti"].xcoms["llm_usage"]["cost_usd"] > 0
"""
)

LLM_OPERATOR = (
    COMMON
    + """
from airflow.providers.common.ai.operators.llm import LLMOperator
prompt = "Write two sentences about tea."
task = LLMOperator(task_id="ask", llm_conn_id="bench_llm", model_id="openai-chat:gpt-4o-mini", prompt=prompt)
assert task.execute(context)
"""
)


def measure(code: str, environment: dict[str, str], runs: int) -> tuple[float, float]:
    """Give the medians of CPU and wall seconds of a process."""
    cpu, wall = [], []
    for _ in range(runs):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(done.stderr)
        wall.append(time.perf_counter() - started)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(cpu), statistics.median(wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with SimulatorServer() as simulator, tempfile.TemporaryDirectory() as folder:
        Path(folder, "bench.yaml").write_text(WORKFLOW)
        environment = {
            **os.environ,
            "AIRFLOW_HOME": folder + "/home",
            "BENCH_FOLDER": folder,
            "OPENAI_API_KEY": "simulator",
            "OPENAI_BASE_URL": simulator.openai_base_url,
            "AIRFLOW_CONN_BENCH_LLM": json.dumps(
                {"conn_type": "pydanticai", "password": "simulator", "host": simulator.openai_base_url}
            ),
        }
        measure(OURS, environment, 1)  # fills the price cache and the byte code, as the first task of a machine does
        empty = measure(EMPTY, environment, runs)
        for name, code in {"this package": OURS, "common.ai LLMOperator": LLM_OPERATOR}.items():
            cpu, wall = measure(code, environment, runs)
            print(
                f"{name}: {cpu - empty[0]:+.3f} s CPU, {wall - empty[1]:+.3f} s wall above an empty task "
                f"({empty[0]:.2f} s CPU, {empty[1]:.2f} s wall)"
            )


if __name__ == "__main__":
    main()
