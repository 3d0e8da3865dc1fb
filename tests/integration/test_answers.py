"""What an ``llm`` step does about its answer: a schema, models in another's place, answers that are kept."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
import redis

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine import cache
from airflow_llm_provider.engine.observer import Observer
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.workflow.model import Retry, Step
from dag_factory import read_text
from tests.conftest import free_port


class Said(Observer):
    """Keeps what steps say."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.waits: list[float] = []

    def step_logged(self, step: Step, message: str) -> None:
        self.lines.append(message)

    def step_retrying(self, step: Step, attempt: int, error: str, wait: float) -> None:
        self.waits.append(wait)


async def run(
    text: str,
    answers: Sequence[Mapping[str, Any]] = (),
    *,
    said: Observer | None = None,
    settings: Settings | None = None,
    step_timeout: float | None = None,
    credentials: Mapping[str, Credentials] | None = None,
) -> RunResult:
    scripted = Credentials(options={"answers": [*answers]})
    read = read_text("w.yaml", textwrap.dedent(text))
    assert not read.errors, "\n".join(map(str, read.errors))
    [workflow] = read.workflows
    steps = tuple(replace(step, timeout=step_timeout) for step in workflow.steps)
    async with Runtime(
        settings=settings or Settings(retry=Retry(initial_delay=7)),
        credentials=lambda provider, connection: (credentials or {}).get(provider, scripted),
        observer=said,
    ) as runtime:
        return await run_workflow(replace(workflow, steps=steps), {}, runtime)


PERSON = """
name: person
steps:
  - id: a
    provider: scripted
    model: m
    prompt: Who?
    output_schema:
      type: object
      properties: {name: {type: string}, age: {type: integer, minimum: 0}}
      required: [name, age]
    retry: {max_attempts: 3}
outputs: {name: "{{ steps.a.output.name }}", age: "${{ steps.a.output.age }}"}
"""


async def test_an_answer_is_read_by_its_schema() -> None:
    result = await run(PERSON, [{"answer": '```json\n{"name": "Ann", "age": 30}\n```'}])
    assert result.outputs == {"name": "Ann", "age": 30}
    made_up = await run(PERSON)
    assert made_up.state == "completed", made_up.error


async def test_a_wrong_answer_is_repaired_without_waiting() -> None:
    said = Said()
    answers = [
        {"match": "^Who", "answer": {"name": "Ann", "age": "thirty"}},
        {"match": "'thirty' is not of type 'integer'. Answer again", "answer": "thirty-one"},
        {"match": "not JSON", "answer": {"name": "Ann", "age": 31}},
    ]
    result = await run(PERSON, answers, said=said)
    assert result.outputs == {"name": "Ann", "age": 31}
    assert result.steps["a"].attempts == 3
    assert result.steps["a"].usage is not None
    assert result.steps["a"].usage.calls == 3
    assert said.waits == [0, 0]


async def test_the_budget_of_tries_bounds_repairs() -> None:
    result = await run(PERSON.replace("max_attempts: 3", "max_attempts: 2"), [{"answer": '{"name": 1'}])
    assert result.state == "failed"
    assert result.steps["a"].attempts == 2
    assert (result.steps["a"].error or "").startswith("SchemaMismatch: m's answer cannot be used: not JSON: ")


FALLBACKS = """
name: fallbacks
steps:
  - id: a
    provider: scripted
    model: first
    prompt: Hello
    retry: {max_attempts: 2, initial_delay: 0}
    fallbacks:
      - {provider: scripted, model: second}
      - {provider: scripted, model: third, after: [InvalidRequest]}
outputs: {model: "{{ tasks.a.model }}", a: "{{ steps.a }}"}
"""


def failing(model: str, error: str, **options: Any) -> dict[str, Any]:
    return {"model": model, "error": {"type": error, "message": "no", **options}, "answer": "never"}


async def test_another_model_answers_at_once() -> None:
    said = Said()
    result = await run(FALLBACKS, [failing("first", "RateLimitError", retry_after=60), {"answer": "hi"}], said=said)
    assert result.outputs["a"] == "hi"
    assert (result.steps["a"].attempts, said.waits) == (1, [])
    assert said.lines == ["scripted/first: RateLimitError: no; asking scripted/second"]
    assert result.steps["a"].usage is not None
    assert result.steps["a"].usage.model == "second"


@pytest.mark.parametrize(
    ("errors", "ended", "attempts"),
    [
        (("InvalidOutput",), "InvalidOutput: no", 1),
        (("AuthenticationError", "ModelNotFound"), "AuthenticationError: scripted/first: Auth", 1),
        (("AuthenticationError", "ServiceUnavailable"), "ServiceUnavailable: scripted/first: Auth", 2),
        (("ContextLengthError", "ContextLengthError", "ServiceUnavailable"), "ServiceUnavailable: ", 2),
    ],
)
async def test_when_all_fail(errors: tuple[str, ...], ended: str, attempts: int) -> None:
    models = ("first", "second", "third")
    result = await run(FALLBACKS, [failing(model, error) for model, error in zip(models, errors, strict=False)])
    step = result.steps["a"]
    assert (step.state, step.attempts) == ("failed", attempts)
    assert (step.error or "").startswith(ended), step.error


async def test_a_model_that_hangs_is_passed_over_in_the_next_try() -> None:
    result = await run(
        FALLBACKS, [{"model": "first", "answer": "late", "delay": 5}, {"answer": "hi"}], step_timeout=0.3
    )
    assert result.outputs["a"] == "hi"
    assert result.steps["a"].attempts == 2


CACHED = """
name: cached
steps:
  - {id: a, provider: openai, model: gpt-4o-mini, prompt: "What?", cache: CACHE}
  - {id: b, provider: openai, model: gpt-4o-mini, prompt: "What?", cache: CACHE, depends_on: [a]}
  - {id: c, provider: openai, model: gpt-4o-mini, prompt: "What?", cache: CACHE, depends_on: [b], temperature: 0.5}
  - {id: d, provider: openai, model: gpt-4o-mini, prompt: "What?", depends_on: [c]}
outputs: {cached: ["${{ tasks.a.cost }}", "${{ tasks.b.cost }}", "${{ tasks.c.cost }}", "${{ tasks.d.cost }}"]}
"""


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_OF_THIS_PROCESS", cache.MemoryCache())


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_an_answer_is_paid_once(kind: str, redis_url: str) -> None:
    chosen = CacheSettings(type="redis", url=redis_url) if kind == "redis" else CacheSettings()
    with SimulatorServer() as simulator:
        reached = {"openai": Credentials(simulator.openai_base_url, "any")}
        for cached in ([False, True, False, False], [True, True, True, False]):
            text = CACHED.replace("CACHE", "{ttl: 5m}")
            result = await run(text, settings=Settings(cache=chosen), credentials=reached)
            assert result.state == "completed", result.error
            assert [cost == 0 for cost in result.outputs["cached"]] == cached
        again = await run(CACHED.replace("CACHE", "true"), settings=Settings(cache=chosen), credentials=reached)
        assert [cost == 0 for cost in again.outputs["cached"]] == [True, True, True, False]
        usage = again.steps["a"].usage
        assert usage is not None
        assert (usage.model, usage.calls, usage.cost_usd) == (result.steps["d"].usage.model, 0, 0)  # type: ignore[union-attr]
        assert httpx.get(f"{simulator.base_url}/_simulator/stats").json()["answered"] == 5
    if kind == "redis":
        with redis.Redis.from_url(redis_url) as client:
            keys = client.keys("llm-orchestrator:answer:*")
            assert len(keys) == 2
            assert 0 < client.ttl(keys[0]) <= 3600


STAND_IN = """
name: stand_in
steps:
  - {id: a, provider: openai, model: big, prompt: "What?", cache: true, fallbacks: [{provider: anthropic, model: small}]}
  - {id: b, provider: openai, model: big, prompt: "What?", cache: true, depends_on: [a]}
outputs: {said: ["${{ tasks.a.model }}", "${{ tasks.b.model }}"]}
"""


@pytest.mark.usefixtures("nothing_kept")
async def test_the_answer_of_another_model_is_not_kept_as_that_of_the_first() -> None:
    rules = [
        Rule.model_validate({"match": "What", "model": "big", "error": {"type": "ServiceUnavailable", "times": 1}})
    ]
    with SimulatorServer(rules) as simulator:
        reached = {
            "openai": Credentials(simulator.openai_base_url, "any"),
            "anthropic": Credentials(simulator.anthropic_base_url, "any"),
        }
        settings = Settings(retry=Retry(max_attempts=1))
        result = await run(STAND_IN, settings=settings, credentials=reached)
    assert result.state == "completed", result.error
    assert result.outputs["said"] == ["small", "big"]


async def test_many_at_once_share_a_few_connections_to_redis(redis_url: str) -> None:
    kept = cache.RedisCache(redis_url, 3)

    async def both(key: str) -> str | None:
        await kept.put(key, "x", 60)
        return await kept.get(key)

    assert await asyncio.gather(*(both(str(number)) for number in range(100))) == ["x"] * 100
    await kept.aclose()


async def test_a_cache_that_is_down_fails_nothing() -> None:
    said = Said()
    down = Settings(cache=CacheSettings(type="redis", url=f"redis://:s3cret@127.0.0.1:{free_port()}"))  # type: ignore[arg-type]
    text = "name: x\nsteps: [{id: a, provider: scripted, model: m, prompt: x, cache: true}]\n"
    result = await run(text, [{"answer": "hi"}], settings=down, said=said)
    assert result.state == "completed"
    assert said.lines == ["kept answers cannot be read: ConnectionError", "the answer cannot be kept: ConnectionError"]


async def test_entries_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = cache.MemoryCache()
    await kept.put("a", "x", 0.0)
    assert await kept.get("a") is None
    monkeypatch.setattr(cache, "MOST_ENTRIES", 2)
    for key in "abc":
        await kept.put(key, key, 60)
        await kept.get("a")
    assert [await kept.get(key) for key in "abc"] == ["a", None, "c"]


def test_a_redis_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="type 'redis' needs 'url'"):
        CacheSettings(type="redis")
    with pytest.raises(ConfigurationError, match=r"'cache\.url' is no URL") as caught:
        cache.open_cache(CacheSettings(type="redis", url="redis://host:s3cret"))  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=r"install airflow-llm-provider\[redis\]"):
        cache.open_cache(CacheSettings(type="redis", url="redis://x"))  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_how_long_the_first_token_took(provider: str) -> None:
    text = """
        name: streamed
        steps:
          - {id: a, provider: PROVIDER, model: gpt-4o-mini, prompt: "What?", stream: true, output: [x, m, t, metadata]}
          - {id: b, provider: PROVIDER, model: gpt-4o-mini, prompt: "What?", output: [x, m, t, metadata]}
        """
    with SimulatorServer() as simulator:
        url = simulator.openai_base_url if provider == "openai" else simulator.anthropic_base_url
        result = await run(text.replace("PROVIDER", provider), credentials={provider: Credentials(url, "any")})
    streamed, whole = (result.steps[name].outputs for name in "ab")
    assert streamed["x"] == whole["x"]
    assert 0 < streamed["metadata"]["first_token_ms"] <= streamed["metadata"]["latency_ms"]
    assert "first_token_ms" not in whole["metadata"]
