"""What follows when there is no money for a call, in the engine and on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_llm_provider.cli import main
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.money import Budget, Price
from airflow_llm_provider.config.settings import Settings, load_settings
from airflow_llm_provider.engine.approval import Answer, Question
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.sharing import open_state
from airflow_llm_provider.engine.spending import Ledger, Payer
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.simulator import SimulatorServer
from dag_factory import read_text
from tests.integration.test_answers import Said

THREE = """
name: three
labels: {team: web}
steps:
  - {id: a, provider: openai, model: dear, prompt: one, max_tokens: 100}
  - {id: b, provider: openai, model: dear, prompt: two, max_tokens: 100, depends_on: [a]}
  - {id: c, provider: openai, model: dear, prompt: three, max_tokens: 100, depends_on: [b]}
"""
PRICES = (Price(model="dear", input=0, output=10_000), Price(model="cheap", input=0, output=1))
"""A cent a token; an answer of the simulator has more than one and less than a hundred of them."""


async def run(
    text: str, budgets: list[Budget], said: Said, tmp_path: Path, rules: Sequence[Rule] = (), **options: Any
) -> tuple[RunResult, int]:
    [workflow] = read_text("w.yaml", text).workflows
    settings = Settings(prices=PRICES, budgets=budgets, state=tmp_path)
    with SimulatorServer(rules) as simulator:
        reached = Credentials(simulator.openai_base_url, "any")
        async with Runtime(
            settings=settings, credentials=lambda provider, connection: reached, observer=said, **options
        ) as runtime:
            result = await run_workflow(workflow, {}, runtime, run_id="r1")
        return result, httpx.get(f"{simulator.base_url}/_simulator/stats").json()["answered"]


def limit(cost: float, **rest: Any) -> Budget:
    return Budget(name="web", limit_usd=cost, team="web", **rest)


async def test_the_call_fails_that_there_is_no_money_for(tmp_path: Path) -> None:
    result, answered = await run(THREE, [limit(1.02)], Said(), tmp_path)
    assert {step.state for step in result.steps.values()} == {"completed", "failed", "pending"}
    assert answered == 1
    assert "BudgetExceeded: the budget 'web' of 1.02 USD has " in (result.steps["b"].error or "")
    assert result.steps["b"].attempts == 1


@pytest.mark.parametrize(
    ("rule", "spent"),
    [
        ({"error": {"type": "RateLimitError"}}, 0.0),
        # What was not heard to its end may have been charged.
        ({"fault": {"drop": "middle"}}, 1.0),
        ({"delay": 5}, 1.0),
    ],
)
async def test_what_a_call_without_an_answer_costs(tmp_path: Path, rule: dict[str, Any], spent: float) -> None:
    text = THREE.replace("max_tokens: 100}", "max_tokens: 100, timeout_seconds: 1, retry: {max_attempts: 1}}")
    budget = limit(9)
    await run(text, [budget], Said(), tmp_path, rules=[Rule.model_validate({"match": ".*", **rule})])
    ledger = Ledger(open_state(CacheSettings(), tmp_path), [budget])
    assert (await ledger.account(budget, Payer("three", "r1", "web"))).spent == pytest.approx(spent)


async def test_a_warning(tmp_path: Path) -> None:
    said = Said()
    result, answered = await run(THREE, [limit(0.1, on_exceeded="warn")], said, tmp_path)
    assert (result.state, answered) == ("completed", 3)
    [line] = said.lines
    assert line.startswith("budget 'web': 0.")


async def test_a_cheaper_model(tmp_path: Path) -> None:
    said = Said()
    cheap = {"provider": "openai", "model": "cheap"}
    result, answered = await run(THREE, [limit(1.02, on_exceeded="downgrade", downgrade_to=cheap)], said, tmp_path)
    assert (result.state, answered) == ("completed", 3)
    assert [step.usage.model for step in result.steps.values() if step.usage] == ["dear", "cheap", "cheap"]
    assert any("asking openai/cheap instead of openai/dear" in line for line in said.lines)


@pytest.mark.parametrize("approved", [True, False])
async def test_a_person_decides(tmp_path: Path, approved: bool) -> None:
    asked: list[Question] = []

    async def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer(approved, "ann")

    said = Said()
    budget = limit(1.02, on_exceeded="approve", approvers=["ann"])
    result, answered = await run(THREE, [budget], said, tmp_path, ask=ask)
    [question] = asked
    assert question.step_id == "b"
    assert question.message == "May the run r1 of three spend more than the budget 'web' has?"
    assert question.approvers == ("ann",)
    if approved:
        assert (result.state, answered) == ("completed", 3)
        assert "ann lets the run spend more than the budget 'web' has" in said.lines
    else:
        assert (result.steps["b"].state, answered) == ("failed", 1)


async def test_one_of_many_asks(tmp_path: Path) -> None:
    asked: list[Question] = []

    async def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer(approved=True, by="ann")

    text = """
name: many
labels: {team: web}
steps:
  - id: each
    type: orchestrator:fan-out
    items: [1, 2, 3, 4, 5, 6]
    task_template: {provider: openai, model: dear, prompt: "{{ item }}", max_tokens: 100}
"""
    result, answered = await run(text, [limit(0.5, on_exceeded="approve")], Said(), tmp_path, ask=ask)
    assert (result.state, answered, len(asked)) == ("completed", 6, 1)


async def test_embeddings_are_not_downgraded(tmp_path: Path) -> None:
    text = "name: e\nlabels: {team: web}\nsteps:\n  - {id: v, type: embed, provider: openai, model: vectors, input: [a, b]}\n"
    cheap = {"provider": "openai", "model": "cheap"}
    budget = limit(0.000001, on_exceeded="downgrade", downgrade_to=cheap)
    [workflow] = read_text("w.yaml", text).workflows
    settings = Settings(prices=(Price(model="vectors", input=1000),), budgets=(budget,), state=tmp_path)
    async with Runtime(settings=settings, credentials=lambda *_: Credentials("http://127.0.0.1:9", "k")) as runtime:
        result = await run_workflow(workflow, {}, runtime)
    assert (result.steps["v"].error or "").startswith("BudgetExceeded: the budget 'web'")


async def test_a_model_without_a_price(tmp_path: Path) -> None:
    said = Said()
    result, _ = await run(THREE.replace("dear", "nameless"), [limit(0.1)], said, tmp_path)
    assert result.state == "completed"
    told = "no budget holds for openai/nameless, whose price is not known; give it under 'prices'"
    assert said.lines == [told] * 3


def test_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.yaml").write_text(THREE)
    config = tmp_path / "orchestrator.yaml"
    config.write_text(
        "prices: [{model: dear, input: 0, output: 10000}]\nbudgets: [{name: web, limit_usd: 50, each: workflow}]\n"
    )
    assert main(["costs"]) == 0
    assert "No workflow has asked a model since" in capsys.readouterr().out
    with SimulatorServer() as simulator:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.openai_base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        assert main(["run", str(tmp_path / "w.yaml"), "--config", str(config)]) == 0
    capsys.readouterr()
    assert main(["costs", "--config", str(config), "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [amounts] = told["workflows"]["three"].values()
    assert (amounts["calls"], amounts["without_price"]) == (3, 0)
    [budget] = told["budgets"]
    assert (budget["budget"], budget["limit_usd"], budget["held_usd"]) == ("web", 50, 0)
    assert budget["spent_usd"] == pytest.approx(amounts["cost_usd"])
    assert main(["costs", "--config", str(config), "--runs", "--output", "json"]) == 0
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (run["workflow"], run["calls"], run["cost_usd"]) == ("three", 3, pytest.approx(amounts["cost_usd"]))
    assert main(["costs", "--config", str(config), "--runs"]) == 0
    text = capsys.readouterr().out
    assert "three" in text
    assert "Budgets" in text
    assert "Runs" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "budgets: [{limit_usd: 1, on_exceeded: downgrade}]",
            "'on_exceeded: downgrade' and 'downgrade_to' belong together",
        ),
        ("budgets: [{limit_usd: 1, approvers: [ann]}]", "'approvers' belong to 'on_exceeded: approve'"),
        (
            "budgets: [{limit_usd: 1}, {limit_usd: 2}]",
            "two budgets are called 'day of */*'; give each a 'name' of its own",
        ),
        ("budgets: [{limit_usd: 0}]", "'limit_usd' is 0; it must be above 0"),
        ("prices: [{model: x, input: -1}]", "'input' is -1; at least 0 is needed"),
        ("prices: [{model: x, output: 1}]", "missing key 'input'"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert told in str(caught.value)
