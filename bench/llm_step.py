"""What one LLM step costs a cold task process: CPU and wall, above an empty task, against common.ai's LLMOperator.

Each contender is a new process that imports the Task SDK's runner, as every task process has, then runs one operator with a minimal
context. The model is the simulator, over real HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
    task_id = "ask"; dag_id = "bench"; run_id = "r"; map_index = -1; try_number = 1; max_tries = 0
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


# A task's process ends this way, without tearing its modules down.
END = """
import os
os._exit(0)
"""


def measure(code: str, environment: dict[str, str]) -> tuple[float, float]:
    """Give the CPU and wall seconds of a process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + END], env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=8)
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
        measure(OURS, environment)  # fills the price cache, as the first task of a machine does
        programs = {"empty task": EMPTY, "this package": OURS, "common.ai LLMOperator": LLM_OPERATOR}
        # Taking turns spreads what else the machine does over all of them; the least of each is what it needs.
        taken = [{name: measure(code, environment) for name, code in programs.items()} for _ in range(runs)]
    least = {name: [min(run[name][which] for run in taken) for which in (0, 1)] for name in programs}
    cpu, wall = least.pop("empty task")
    print(f"empty task: {cpu:.2f} s CPU, {wall:.2f} s wall")
    for name, (its_cpu, its_wall) in least.items():
        print(f"{name}: {its_cpu - cpu:+.3f} s CPU, {its_wall - wall:+.3f} s wall above it")


if __name__ == "__main__":
    main()
