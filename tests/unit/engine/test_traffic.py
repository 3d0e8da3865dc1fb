"""Circuit breaker and rate limits: their rules, and that processes share them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.resilience import CircuitBreaker, RateLimit
from airflow_llm_provider.engine import traffic
from airflow_llm_provider.engine.cut_off import cut_offs
from airflow_llm_provider.engine.sharing import SharedState, open_state
from airflow_llm_provider.engine.traffic import Traffic
from airflow_llm_provider.errors import (
    AuthenticationError,
    CircuitOpen,
    ConfigurationError,
    Postponed,
    RateLimitError,
    ServiceUnavailable,
    StepError,
    TimeoutError,
)
from airflow_llm_provider.simulator import SimulatorServer

BREAKER = CircuitBreaker(failure_threshold=3, timeout=10)


def entering(state: dict[str, Any], now: float) -> tuple[dict[str, Any], float | None]:
    state, entry = traffic._entering(BREAKER)(state, now)
    return state, entry.wait


def ending(state: dict[str, Any], now: float, *, well: bool) -> dict[str, Any]:
    return traffic._ending(BREAKER, well=well)(state, now)[0]


def test_the_circuit_opens_half_opens_and_closes() -> None:
    state: dict[str, Any] = {}
    for now in (0, 1):
        state = ending(state, now, well=False)
        assert entering(state, now) == (state, None)
    assert ending(state, 1, well=True) == {}
    state = ending(state, 2, well=False)
    assert entering(state, 5) == (state, 7)
    # One may try it, and the others wait for what it finds out.
    probing, wait = entering(state, 12)
    assert wait is None
    assert entering(probing, 12.5)[1] == 9.5
    assert ending(probing, 13, well=True) == {}
    again = ending(probing, 13, well=False)
    assert entering(again, 13)[1] == 10


def slots(most: float, costs: list[float], gap: float = 0.0) -> list[float]:
    state: dict[str, Any] = {}
    starts = []
    for number, cost in enumerate(costs):
        now = number * gap
        state, wait = traffic._reserving(most, cost)(state, now)
        starts.append(now + wait)
    return starts


@pytest.mark.parametrize("most", [1, 2, 5, 9, 10, 60, 600])
@pytest.mark.parametrize("gap", [0, 0.05, 1])
def test_no_minute_has_more_than_the_limit(most: int, gap: float) -> None:
    starts = slots(most, [1.0] * (3 * most + 5), gap)
    assert starts == sorted(starts)
    for start in starts:
        assert sum(start <= other < start + 60 for other in starts) <= most
    # And it is used: after the first minute, nine tenths of it.
    if gap == 0:
        assert starts[-1] <= 60 * len(starts) / (0.9 * most)


def test_tokens_are_settled() -> None:
    state, wait = traffic._reserving(6000, 600)({}, 0)
    assert wait == 0
    assert traffic._reserving(6000, 600)(state, 0)[1] == pytest.approx(600 / 90)
    state, _ = traffic._settling(6000, -300)(state, 0)
    assert traffic._reserving(6000, 600)(state, 0)[1] == pytest.approx(300 / 90)
    # A call that is larger than the burst waits for those before it, and no longer.
    assert slots(600, [1000, 1000]) == [0, pytest.approx(1000 / 9)]


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        ({}, True),
        ({"provider": "openai"}, True),
        ({"provider": "anthropic"}, False),
        ({"model": "gpt-4o*"}, True),
        ({"model": "gpt-4"}, False),
        ({"connection": "mine"}, True),
        ({"connection": ""}, False),
    ],
)
def test_which_calls_a_limit_is_for(limit: dict[str, Any], fits: bool) -> None:
    assert RateLimit(**limit, requests_per_minute=1).fits("openai", "gpt-4o-mini", "mine") is fits


def test_a_limit_limits_something() -> None:
    with pytest.raises(ValueError, match="give 'requests_per_minute', 'tokens_per_minute', or both"):
        RateLimit()


@pytest.fixture(params=["file", "redis"])
def settings(request: pytest.FixtureRequest) -> CacheSettings:
    if request.param == "file":
        return CacheSettings()
    return CacheSettings(type="redis", url=request.getfixturevalue("redis_url"))


@contextlib.asynccontextmanager
async def two(
    settings: CacheSettings,
    folder: Path,
    *limits: RateLimit,
    breaker: CircuitBreaker = BREAKER,
    longest_wait: float | None = None,
) -> AsyncIterator[tuple[Traffic, Traffic]]:
    """Give the traffic of two processes."""
    both = tuple(Traffic(open_state(settings, folder), breaker, limits, longest_wait) for _ in range(2))
    yield both  # type: ignore[misc]
    for one in both:
        await one.aclose()


async def call(one: Traffic, error: StepError | None = None, model: str = "m") -> None:
    async with one.call("openai", model, "", 10):
        if error is not None:
            raise error


async def fail(one: Traffic, error: StepError, times: int) -> None:
    for _ in range(times):
        with pytest.raises(type(error)):
            await call(one, error)


async def test_both_see_the_circuit_open_within_a_second(settings: CacheSettings, tmp_path: Path) -> None:
    async with two(settings, tmp_path) as (first, second):
        await call(second)
        await fail(first, AuthenticationError("no"), 5)
        await fail(first, RateLimitError("no"), 5)
        await call(first)
        await fail(first, ServiceUnavailable("no"), 2)
        await fail(second, TimeoutError("no"), 1)
        await asyncio.sleep(traffic.TRUSTED_SECONDS)
        for one in (first, second):
            with pytest.raises(
                CircuitOpen, match=r"openai/m has failed 3 times in a row, and is asked again in \d+ s"
            ) as caught:
                await call(one)
            assert 8 < (caught.value.retry_after or 0) <= 10 * (1 + traffic.SPREAD)
            await call(one, model="other")


async def test_all_go_on_when_one_has_found_the_model_back(settings: CacheSettings, tmp_path: Path) -> None:
    breaker = BREAKER.model_copy(update={"timeout": 0.3})
    async with two(settings, tmp_path, breaker=breaker) as (first, second):
        await fail(first, ServiceUnavailable("no"), 3)
        await asyncio.sleep(0.35)
        probing = asyncio.Event()

        async def probe() -> None:
            async with first.call("openai", "m", "", 10):
                probing.set()
                await asyncio.sleep(0.2)

        tried = asyncio.create_task(probe())
        await probing.wait()
        # None of them is told to come again later.
        await asyncio.gather(*(call(one) for one in (first, second) for _ in range(5)))
        await tried


async def test_whoever_gives_up_leaves_the_line(settings: CacheSettings, tmp_path: Path) -> None:
    async with two(settings, tmp_path, RateLimit(requests_per_minute=60)) as (first, second):
        await asyncio.gather(*(call(first) for _ in range(6)))
        waiting = [asyncio.create_task(call(first)) for _ in range(20)]
        await asyncio.sleep(0.2)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        began = time.monotonic()
        await call(second)
        assert time.monotonic() - began < 5


async def test_a_long_line_is_not_waited_for_here(settings: CacheSettings, tmp_path: Path) -> None:
    async with two(settings, tmp_path, RateLimit(requests_per_minute=1), longest_wait=1) as (first, second):
        await call(first)
        for _ in range(3):
            with pytest.raises(Postponed, match="the rate limits let it begin in") as caught:
                await call(second)
            # None of them has taken a place.
            assert 50 < (caught.value.retry_after or 0) < 70


async def test_a_model_that_hangs_opens_the_circuit(settings: CacheSettings, tmp_path: Path) -> None:
    async with two(settings, tmp_path) as (first, second):
        for too_slow in (False, True):
            for _ in range(3):
                with cut_offs() as cut, contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(hang(first), 0.02)
                for each in cut if too_slow else ():
                    await each()
            await asyncio.sleep(traffic.TRUSTED_SECONDS)
            if not too_slow:
                await call(second)
        with pytest.raises(CircuitOpen):
            await call(second)


async def hang(one: Traffic) -> None:
    async with one.call("openai", "m", "", 10):
        await asyncio.sleep(30)


async def test_one_limit_for_two(settings: CacheSettings, tmp_path: Path) -> None:
    async with two(settings, tmp_path, RateLimit(requests_per_minute=600)) as (first, second):
        began = time.monotonic()
        await asyncio.gather(*(call(one) for one in (first, second) for _ in range(40)))
    # 60 at once, and 9 a second.
    assert time.monotonic() - began >= 20 / 9 - 0.05


def test_of_many_that_make_the_file_at_once_each_is_counted(tmp_path: Path) -> None:
    threads, rounds = 8, 25
    ready = threading.Barrier(threads)

    def add_one(number: int) -> None:
        state = open_state(CacheSettings(), tmp_path / str(number))
        ready.wait()
        asyncio.run(state.change("calls", lambda before, now: ({"made": before.get("made", 0) + 1}, None)))

    with ThreadPoolExecutor(threads) as pool:
        for number in range(rounds):
            # Those of one round make one file; an error of any is raised here.
            list(pool.map(add_one, [number] * threads))
    made = [asyncio.run(open_state(CacheSettings(), tmp_path / str(number)).all("calls")) for number in range(rounds)]
    assert made == [{"calls": {"made": threads}}] * rounds


async def test_state_that_cannot_be_kept_stops_nothing(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    class Broken(SharedState):
        async def change(self, key: str, change: Any) -> Any:
            raise OSError("disk full")

        async def aclose(self) -> None:
            """Nothing is open."""

    await call(Traffic(Broken(), BREAKER, [RateLimit(requests_per_minute=1)]))
    assert "circuit breaker and rate limits do not work: OSError" in caplog.text


async def test_nothing_is_written_while_all_is_well(tmp_path: Path) -> None:
    one = Traffic(open_state(CacheSettings(), tmp_path / "llm"), BREAKER, [])
    await call(one)
    await call(one)
    assert not (tmp_path / "llm").exists()


def test_redis_needs_an_address() -> None:
    with pytest.raises(ConfigurationError, match=r"needs 'cache\.url'"):
        open_state(CacheSettings.model_construct(type="redis", url=None), Path())


WORKFLOW = """
name: many
inputs: {numbers: []}
steps:
  - id: each
    type: orchestrator:fan-out
    items: ${{ inputs.numbers }}
    max_concurrency: 100
    task_template: {provider: openai, model: gpt-4o-mini, prompt: "Say {{ item }}", retry: {max_attempts: 1}}
outputs: {count: "${{ length(steps.each) }}"}
"""


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer() as server:
        yield server


def test_two_processes_keep_one_limit(simulator: SimulatorServer, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(WORKFLOW)
    (tmp_path / "orchestrator.yaml").write_text(
        f"cache: {{type: redis, url: '{redis_url}'}}\nrate_limits: [{{provider: openai, requests_per_minute: 1200}}]\n"
    )
    reached = {"OPENAI_BASE_URL": simulator.openai_base_url, "OPENAI_API_KEY": "any"}
    command = [sys.executable, "-m", "airflow_llm_provider.cli", "run", "many.yaml", "--config", "orchestrator.yaml"]
    inputs = json.dumps({"numbers": list(range(90))})
    began = time.monotonic()
    running = [
        subprocess.Popen(
            [*command, "--input", inputs],
            cwd=tmp_path,
            env={**__import__("os").environ, **reached},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        output, told = process.communicate()
        assert (process.returncode, output) == (0, "count: 90\n"), told
    # 120 at once, and 18 a second.
    assert time.monotonic() - began >= 60 / 18
    assert httpx.get(f"{simulator.base_url}/_simulator/stats").json()["answered"] == 180
