"""Costs, the first time and from the cache, beside the price list's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
import pytest

from airflow_llm_provider.accounting import prices
from airflow_llm_provider.accounting.prices import FlatPrice, cost_usd
from airflow_llm_provider.clients.base import Usage

USAGES = [
    Usage(),
    Usage(1),
    Usage(0, 1),
    Usage(1000, 500),
    Usage(1000, 500, cached_tokens=800),
    Usage(1000, 500, cached_tokens=1000),
    Usage(500_000, 9_000, cached_tokens=300_000),
    Usage(1000, 500, reasoning_tokens=400),
]

FLAT = [
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o-mini-2024-07-18"),
    ("openai", "gpt-4o"),
    ("openai", "gpt-4-turbo"),
    ("openai", "gpt-3.5-turbo"),
    ("openai", "o3-mini"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("anthropic", "claude-haiku-4-5-20251001"),
    ("mistral", "mistral-large-latest"),
]
NOT_FLAT = [
    ("google", "gemini-1.5-pro"),
    ("google", "gemini-2.5-pro"),
    ("perplexity", "sonar"),
    ("perplexity", "sonar-pro"),
]


def cache_file() -> Path:
    return next(Path(os.environ["XDG_CACHE_HOME"]).glob("airflow-llm-provider/prices-*.json"))


def listed(provider: str, model: str, usage: Usage) -> float:
    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_tokens, output_tokens=usage.output_tokens
    )
    return float(genai_prices.calc_price(tokens, model, provider_id=provider).total_price)


@pytest.mark.parametrize(("provider", "model"), FLAT + NOT_FLAT)
def test_costs_are_those_of_the_price_list(provider: str, model: str) -> None:
    expected = [listed(provider, model, usage) for usage in USAGES]
    # The first round fills the cache, the others read it where the price is flat.
    for _ in range(3):
        assert [cost_usd(provider, model, usage) for usage in USAGES] == expected


@pytest.mark.parametrize(("provider", "model"), FLAT)
def test_a_flat_price_is_kept(provider: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = cost_usd(provider, model, USAGES[4])
    monkeypatch.setattr(prices, "_calculate", None)
    assert cost_usd(provider, model, USAGES[4]) == expected


@pytest.mark.parametrize(("provider", "model"), NOT_FLAT)
def test_another_price_is_not_kept(provider: str, model: str) -> None:
    assert cost_usd(provider, model, USAGES[4]) is not None
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("prices-*.json"))


@pytest.mark.parametrize("usage", USAGES[:3])
def test_an_unknown_model(usage: Usage) -> None:
    for _ in range(2):
        assert cost_usd("openai", "no-such-model", usage) is None
        assert cost_usd("no-such-provider", "gpt-4o", usage) is None
    assert json.loads(cache_file().read_text())["openai/no-such-model"] is None


@pytest.mark.parametrize("usage", [Usage(10, 5, cached_tokens=11), Usage(cached_tokens=1)])
@pytest.mark.parametrize(("provider", "model"), [FLAT[0], NOT_FLAT[0]])
def test_counts_that_contradict_each_other(provider: str, model: str, usage: Usage) -> None:
    assert cost_usd(provider, model, usage) is None
    assert cost_usd(provider, model, USAGES[4]) == listed(provider, model, USAGES[4])
    assert cost_usd(provider, model, usage) is None


def test_the_scripted_provider_costs_nothing() -> None:
    assert cost_usd("scripted", "any", USAGES[3]) == 0.0
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


BROKEN: list[Any] = [
    b"",
    b"{",
    b"\xff",
    b"[]",
    b"5",
    b"null",
    b'{"openai/gpt-4o": 5}',
    b'{"openai/gpt-4o": []}',
    b'{"openai/gpt-4o": ["a", "b", "c"]}',
    b'{"openai/gpt-4o": ["1", "2"]}',
    b'{"openai/gpt-4o": [null, null, null]}',
    b'{"openai/gpt-4o": [[], [], []]}',
    b'{"openai/gpt-4o": {"a": 1}}',
]


@pytest.mark.parametrize("content", BROKEN, ids=repr)
def test_a_broken_cache_is_survived_and_mended(content: bytes) -> None:
    expected = cost_usd("openai", "gpt-4o", USAGES[4])
    good = json.loads(cache_file().read_text())
    cache_file().write_bytes(content)
    assert cost_usd("openai", "gpt-4o", USAGES[4]) == expected
    assert json.loads(cache_file().read_text()) == good


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert cost_usd("openai", "gpt-4o", USAGES[4]) == listed("openai", "gpt-4o", USAGES[4])
    assert file.read_text() == "no folder"


def test_without_the_variable_the_home_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cost_usd("openai", "gpt-4o", USAGES[4])
    assert [path.name for path in (tmp_path / ".cache" / "airflow-llm-provider").iterdir()] == [prices._file().name]


def test_other_entries_stay() -> None:
    for provider, model in FLAT[:3]:
        cost_usd(provider, model, USAGES[3])
    assert sorted(json.loads(cache_file().read_text())) == sorted(f"{provider}/{model}" for provider, model in FLAT[:3])
    assert len(list(cache_file().parent.iterdir())) == 1


def test_a_known_price_needs_no_library() -> None:
    cost = cost_usd("openai", "gpt-4o", USAGES[3])
    code = (
        "import sys; from airflow_llm_provider.accounting.prices import cost_usd; "
        "from airflow_llm_provider.clients.base import Usage; "
        "print(cost_usd('openai', 'gpt-4o', Usage(1000, 500)), 'genai_prices' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{cost} False\n"


def test_flat_price() -> None:
    price = FlatPrice(Decimal(2), Decimal("0.5"), Decimal(10))
    assert price.cost(Usage(1_000_000, 100_000, cached_tokens=400_000)) == Decimal("2.4")
