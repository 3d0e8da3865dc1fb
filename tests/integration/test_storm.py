"""A provider that fails a third of the time: each prompt is answered and paid once, also when the process is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.resilience import CircuitBreaker
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault
from airflow_llm_provider.workflow.model import Retry
from dag_factory import read_text

PROMPTS = 1000

STORM = f"""
name: storm
steps:
  - id: each
    type: orchestrator:fan-out
    items: ${{{{ inputs.numbers }}}}
    max_concurrency: 100
    task_template: {{provider: openai, model: gpt-4o-mini, prompt: "number {{{{ item }}}}", timeout_seconds: 10}}
inputs: {{numbers: {list(range(PROMPTS))}}}
outputs: {{answers: "{{{{ steps.each }}}}"}}
"""
STORMY = Retry(max_attempts=12, initial_delay=0.01, max_delay=0.1)

HOW_IT_FAILS: tuple[dict[str, Any], ...] = (
    {"status": 429, "retry_after": 0.05},
    {"status": 500},
    {"status": 503, "retry_after": 0},
    {"drop": "before"},
    {"drop": "middle"},
    {"malformed": True},
)


def faults(part: float) -> list[Fault]:
    """Give the faults of a storm: for that part of all prompts, one or several."""
    chance = random.Random(7)
    given = []
    for number in range(PROMPTS):
        while chance.random() < part:
            given.append(Fault(match=rf"number {number}$", **chance.choice(HOW_IT_FAILS)))
    return given


def check(answers: list[str]) -> None:
    assert len(answers) == PROMPTS
    for number, answer in enumerate(answers):
        assert answer.endswith(f"number {number}"), answer


@pytest.fixture
def settings() -> Settings:
    # A storm would open the circuit, which is another test's matter.
    return Settings(retry=STORMY, circuit_breaker=CircuitBreaker(enabled=False))


async def test_all_prompts_are_answered_and_paid_once(settings: Settings) -> None:
    [workflow] = read_text("w.yaml", STORM).workflows
    with SimulatorServer() as server:
        server.simulator.faults.add(faults(0.3))
        reached = Credentials(server.openai_base_url, "sk-any")
        async with Runtime(settings=settings, credentials=lambda *_: reached) as runtime:
            result = await run_workflow(workflow, {}, runtime)
        assert result.state == "completed", result.error
        check(result.outputs["answers"])
        usage = result.steps["each"].usage
        assert usage is not None
        assert server.simulator.calls > 1.3 * PROMPTS
        assert (usage.calls, server.simulator.answered) == (PROMPTS, PROMPTS)


WORKER = """
import asyncio, json, sqlite3, sys
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.resilience import CircuitBreaker
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from dag_factory import read_file
from tests.integration.test_storm import STORMY

url, workflow, kept = sys.argv[1:]


class Checkpoint:
    \"\"\"What outlives the process, as Airflow's state store does.\"\"\"

    def __init__(self):
        self.database = sqlite3.connect(kept, isolation_level=None)
        self.database.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, text TEXT)")

    async def get(self, key):
        row = self.database.execute("SELECT text FROM kept WHERE key = ?", (key,)).fetchone()
        return row and row[0]

    async def put(self, key, text, ttl):
        self.database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (key, text))

    async def aclose(self):
        pass


async def main():
    settings = Settings(retry=STORMY, circuit_breaker=CircuitBreaker(enabled=False))
    reached = Credentials(url, "sk-any")
    runtime = Runtime(settings=settings, credentials=lambda *_: reached, checkpoint=Checkpoint())
    async with runtime:
        result = await run_workflow(read_file(workflow).workflows[0], {}, runtime)
    print(json.dumps({"state": result.state, "error": result.error, "answers": result.outputs.get("answers")}))


asyncio.run(main())
"""


def test_a_killed_process_pays_for_nothing_twice(tmp_path: Path) -> None:
    workflow, kept = tmp_path / "storm.yaml", tmp_path / "kept.sqlite"
    workflow.write_text(STORM)
    with SimulatorServer() as server:
        server.simulator.faults.add(faults(0.3))
        command = [sys.executable, "-c", WORKER, server.openai_base_url, str(workflow), str(kept)]
        first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while server.simulator.answered < PROMPTS // 3:
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        with sqlite3.connect(kept) as database:
            [(finished,)] = database.execute("SELECT count(*) FROM kept").fetchall()
        paid = server.simulator.answered
        assert 0 < finished < PROMPTS
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["state"] == "completed", told["error"]
        check(told["answers"])
        # Nothing that had arrived is asked again; what was on its way when the process ended could not be kept by anybody.
        assert server.simulator.answered - paid == PROMPTS - finished
        assert paid - finished <= 100
