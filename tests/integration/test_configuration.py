"""What ``orchestrator.yaml`` says of steps, seen in runs that read it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.reading import read_configuration
from airflow_llm_provider.config.setting import environment
from airflow_llm_provider.config.settings import load_settings
from airflow_llm_provider.engine import cache
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.workflow.model import Step
from dag_factory import read_text

ASK = """
name: ask
steps: [{id: ask, provider: openai, model: gpt-4o-mini, prompt: "What is next?"}]
outputs: {said: "{{ steps.ask.output }}"}
"""

DOWN = {"match": "next", "error": {"type": "ServiceUnavailable"}}


class Waits(Observer):
    """Keeps how long steps wait between two tries, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
        self.seconds.append(wait)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_OF_THIS_PROCESS", cache.MemoryCache())


@pytest.fixture
def simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    """Have the model that steps ask; a test says by which rules it answers."""
    rules = [Rule.model_validate(rule) for rule in getattr(request, "param", [])]
    with SimulatorServer(rules) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_base_url)
        yield server


async def run(folder: Path, config: str, workflow: str = ASK, observer: Observer | None = None) -> RunResult:
    """Run a workflow as a configuration says."""
    path = folder / "orchestrator.yaml"
    path.write_text(f"home: {folder}\n{config}")
    read = read_text("w.yaml", workflow)
    assert not read.errors, "\n".join(map(str, read.errors))
    async with Runtime(settings=load_settings(path), observer=observer) as runtime:
        return await run_workflow(read.workflows[0], {}, runtime)


@pytest.mark.shows("integrations.llm_forge.api_keys")
async def test_the_key_of_the_file_is_the_one_that_is_sent(
    simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "invalid")
    # The simulator refuses this key, as a provider refuses a wrong one.
    refused = await run(tmp_path, "integrations: {llm_forge: {api_keys: {openai: '${THE_KEY}'}}}")
    assert str(refused.steps["ask"].error).startswith("AuthenticationError")
    monkeypatch.setenv("THE_KEY", "sk-right")
    taken = await run(tmp_path, "integrations: {llm_forge: {api_keys: {openai: '${THE_KEY}'}}}")
    assert taken.state == "completed", taken.error


@pytest.mark.parametrize("simulator", [[DOWN]], indirect=True)
@pytest.mark.shows(
    "fault_tolerance.retry.default_max_attempts",
    "fault_tolerance.retry.default_backoff_multiplier",
    "fault_tolerance.retry.default_initial_interval",
    "fault_tolerance.retry.default_max_interval",
)
async def test_a_step_is_tried_as_often_and_after_such_waits(simulator: SimulatorServer, tmp_path: Path) -> None:
    waits = Waits()
    result = await run(
        tmp_path,
        """
integrations: {llm_forge: {api_keys: {openai: any}}}
fault_tolerance:
  circuit_breaker: {enabled: false}
  retry: {default_max_attempts: 5, default_initial_interval: 10ms, default_backoff_multiplier: 10, default_max_interval: 300ms}
""",
        observer=waits,
    )
    assert (result.steps["ask"].state, result.steps["ask"].attempts) == ("failed", 5)
    assert simulator.simulator.calls == 5
    # A wait is drawn between half of what it may be and all of it.
    assert [most / 2 <= wait <= most for wait, most in zip(waits.seconds, (0.01, 0.1, 0.3, 0.3), strict=True)] == [
        True
    ] * 4


@pytest.mark.parametrize("simulator", [[DOWN]], indirect=True)
@pytest.mark.shows(
    "fault_tolerance.circuit_breaker.enabled",
    "fault_tolerance.circuit_breaker.failure_threshold",
    "fault_tolerance.circuit_breaker.timeout",
)
@pytest.mark.parametrize(
    ("breaker", "calls"),
    [
        ("{failure_threshold: 2, timeout: 1h}", 2),
        ("{failure_threshold: 3, timeout: 1h}", 3),
        # Open for so short a time that it is closed again when the next one comes.
        ("{failure_threshold: 2, timeout: 1ms}", 4),
        ("{enabled: false, failure_threshold: 2, timeout: 1h}", 4),
    ],
)
async def test_a_model_that_fails_is_left_alone(
    simulator: SimulatorServer, tmp_path: Path, breaker: str, calls: int
) -> None:
    config = f"""
integrations: {{llm_forge: {{api_keys: {{openai: any}}}}}}
fault_tolerance: {{retry: {{default_max_attempts: 1}}, circuit_breaker: {breaker}}}
"""
    errors = [str((await run(tmp_path, config)).steps["ask"].error) for _ in range(4)]
    assert simulator.simulator.calls == calls
    kinds = [error.partition(":")[0] for error in errors]
    assert kinds == ["ServiceUnavailable"] * calls + ["CircuitOpen"] * (4 - calls)


@pytest.mark.parametrize("simulator", [[{"match": "next", "delay": 30}]], indirect=True)
@pytest.mark.usefixtures("simulator")
@pytest.mark.shows("execution.executor.task_timeout")
async def test_a_step_that_says_nothing_has_the_time_of_the_file(tmp_path: Path) -> None:
    result = await run(
        tmp_path,
        """
integrations: {llm_forge: {api_keys: {openai: any}}}
execution: {executor: {task_timeout: 200ms}}
fault_tolerance: {retry: {default_max_attempts: 1}}
""",
    )
    assert str(result.steps["ask"].error).startswith("TimeoutError")
    assert "0.2 s" in str(result.steps["ask"].error)


@pytest.mark.shows("cache.type", "cache.url", "cache.ttl")
async def test_an_answer_is_kept_as_long_as_the_file_says(
    simulator: SimulatorServer, redis_url: str, tmp_path: Path
) -> None:
    config = f"""
integrations: {{llm_forge: {{api_keys: {{openai: any}}}}}}
cache: {{type: redis, url: "{redis_url}", ttl: 2h}}
"""
    workflow = ASK.replace('next?"', 'next?", cache: true')
    first, second = [await run(tmp_path, config, workflow) for _ in range(2)]
    assert first.outputs == second.outputs
    assert simulator.simulator.calls == 1
    with redis.Redis.from_url(redis_url) as client:
        [key] = client.keys("llm-orchestrator:answer:*")
        assert 3600 < client.ttl(key) <= 7200


@pytest.mark.parametrize("simulator", [[{"match": "next", "delay": 0.3}]], indirect=True)
@pytest.mark.shows("cache.pool_size")
@pytest.mark.parametrize("size", [2, 5])
async def test_so_many_connections_to_redis_at_most(
    simulator: SimulatorServer, redis_url: str, tmp_path: Path, size: int
) -> None:
    steps = ", ".join(
        f'{{id: s{number}, provider: openai, model: gpt-4o-mini, prompt: "{number}: what is next?", cache: true}}'
        for number in range(40)
    )
    config = f"""
integrations: {{llm_forge: {{api_keys: {{openai: any}}}}}}
cache: {{type: redis, url: "{redis_url}", pool_size: {size}}}
"""
    with redis.Redis.from_url(redis_url) as client:
        before = client.info("stats")["total_connections_received"]
        result = await run(tmp_path, config, f"name: many\nsteps: [{steps}]\n")
        made = client.info("stats")["total_connections_received"] - before
    assert result.state == "completed", result.error
    # One pool for kept answers, and one for what processes share.
    assert 2 <= made <= 2 * size
    assert simulator.simulator.calls == 40


@pytest.mark.shows("execution.executor.max_blocking_threads")
@pytest.mark.parametrize("most", [1, 3])
async def test_what_cannot_wait_by_itself_has_so_many_threads(tmp_path: Path, most: int) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(f"execution: {{executor: {{max_blocking_threads: {most}}}}}\n")
    at_work, at_once = set[str](), list[int]()

    def busy() -> None:
        name = threading.current_thread().name
        at_work.add(name)
        at_once.append(len(at_work))
        # Others have the time to begin.
        threading.Event().wait(0.02)
        at_work.remove(name)

    async with Runtime(settings=load_settings(path)):
        await asyncio.gather(*(asyncio.to_thread(busy) for _ in range(12)))
    assert max(at_once) == most


@pytest.mark.shows("observability.tracing.sample_rate")
@pytest.mark.parametrize(("rate", "sampled"), [(0, {False}), (1, {True}), (0.5, {False, True})])
def test_so_many_runs_are_traced(tmp_path: Path, rate: float, sampled: set[bool]) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(
        f"observability: {{tracing: {{enabled: true, endpoint: 'http://x:4318/v1/traces', sample_rate: {rate}}}}}\n"
    )
    program = """
from opentelemetry.sdk.trace import TracerProvider
tracer = TracerProvider().get_tracer("test")
print(sorted({tracer.start_span("run").get_span_context().trace_flags.sampled for _ in range(200)}))
"""
    variables = environment(settings_of(read_configuration(path, {}).valid()))
    of_traces = {name: value for name, value in variables.items() if name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **of_traces}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(sorted(sampled))
