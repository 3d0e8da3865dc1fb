"""What a call costs, by the price list of genai-prices.

That library takes 0.4 s of CPU before its first price, more than everything else that a step does in a fresh task process. Most
models have one flat price for each kind of token, so these are kept in a small file of the user's cache folder
(``$XDG_CACHE_HOME/airflow-llm-provider``), one for each version of the library. Models whose price depends on the size or the time
of a request always go through the library.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import metadata
from pathlib import Path

from airflow_llm_provider.clients.base import Usage
from airflow_llm_provider.config.money import Price

__all__ = ["FlatPrice", "cost_usd"]


@dataclass(frozen=True, slots=True)
class FlatPrice:
    """Prices in USD for a million tokens.

    Attributes:
        input: Of the prompt.
        cached: Of the part of the prompt that the provider read from its cache.
        output: Of the answer.
    """

    input: Decimal
    cached: Decimal
    output: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """Give the price of a call in USD."""
        fresh = usage.input_tokens - usage.cached_tokens
        return (fresh * self.input + usage.cached_tokens * self.cached + usage.output_tokens * self.output) / 1_000_000


def cost_usd(provider: str | None, model: str, usage: Usage, prices: Sequence[Price] = ()) -> float | None:
    """Give what a call cost.

    Args:
        provider: The provider's name; None means the one that is known for a model of that name.
        model: The model that was asked for.
        usage: The call's tokens.
        prices: Prices over those of the list; the first that fits holds.

    Returns:
        USD; 0 for ``scripted`` and ``local``; None when the list does not know the model, or the counts contradict each other.
    """
    own = next((price for price in prices if price.fits(provider, model)), None)
    if own is None and provider in ("scripted", "local"):
        return 0.0
    if usage.cached_tokens > usage.input_tokens:
        # Some gateways count cached tokens beside the prompt's; the price list refuses that, and the answer is already paid for.
        return None
    if own is not None:
        rates = (own.input, own.input if own.cached is None else own.cached, own.output)
        return float(FlatPrice(*(Decimal(str(rate)) for rate in rates)).cost(usage))
    known = _read()
    with contextlib.suppress(KeyError, TypeError, ValueError, InvalidOperation):
        # An entry that somebody has broken is as good as none.
        listed = known[_key(provider, model)]
        return None if listed is None else float(FlatPrice(*map(Decimal, listed)).cost(usage))
    return _calculate(provider, model, usage)


def _calculate(provider: str | None, model: str, usage: Usage) -> float | None:
    import genai_prices
    from genai_prices.types import ModelPrice

    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_tokens, output_tokens=usage.output_tokens
    )
    try:
        found = genai_prices.calc_price(tokens, model, provider_id=provider)
    except LookupError:
        _remember(_key(provider, model), None)
        return None
    prices = found.model.prices
    if isinstance(prices, ModelPrice):
        kinds = [getattr(prices, name, None) for name in ("input_mtok", "cache_read_mtok", "output_mtok")]
        if all(price is None or isinstance(price, Decimal) for price in kinds):
            fresh, cached, output = kinds
            rates = [fresh or Decimal(0), (fresh or Decimal(0)) if cached is None else cached, output or Decimal(0)]
            # Some models also cost something for each request.
            if FlatPrice(*rates).cost(usage) == found.total_price:
                _remember(_key(provider, model), [str(rate) for rate in rates])
    return float(found.total_price)


def _key(provider: str | None, model: str) -> str:
    return f"{provider or '*'}/{model}"


def _file() -> Path:
    return _file_in(os.environ.get("XDG_CACHE_HOME") or "~/.cache")


@cache
def _file_in(folder: str) -> Path:
    return Path(folder).expanduser() / "airflow-llm-provider" / f"prices-{_version()}.json"


@cache
def _version() -> str:
    return metadata.version("genai-prices")


def _read() -> dict[str, list[str] | None]:
    """Give what is kept; read once in a process, which finds out by itself what others have added since."""
    return _read_from(_file())


@cache
def _read_from(path: Path) -> dict[str, list[str] | None]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # No file yet, or one that is no use: the library knows the prices.
        return {}
    return known if isinstance(known, dict) else {}


def _remember(key: str, rates: list[str] | None) -> None:
    path = _file()
    _read_from.cache_clear()
    # A cache that cannot be written only costs time; of two processes that write at once, one's entry is found again later.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({**_read(), key: rates}, file)
        Path(name).replace(path)
    _read_from.cache_clear()
