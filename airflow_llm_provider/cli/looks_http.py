"""What a doctor asks over HTTP: the providers, whether they take the keys, and the centre of an edge site."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_llm_provider.cli.finding import Finding, Look

if TYPE_CHECKING:
    import httpx

    from airflow_llm_provider.config.configuration import Configuration
    from airflow_llm_provider.engine.runtime import Runtime

__all__ = ["clock", "from_address", "looks_at_centre", "looks_at_providers"]

_CLOCK_SECONDS = 2.0

_MODEL_LISTS = {"openai": "/models", "anthropic": "/v1/models", "cohere": "/v1/models"}
"""Provider to where it lists its models, which costs nothing and is given to those only whose key is right."""


def clock(whose: str, there: float) -> Finding:
    """Compare a clock with this machine's.

    Args:
        whose: Whose it is.
        there: What it shows, in seconds since the epoch.
    """
    apart = abs(time.time() - there)
    if apart > _CLOCK_SECONDS:
        fix = "let all machines take their time from NTP: tokens, schedules and limits go by it"
        return Finding("clock", "error", f"{whose} is {apart:.1f} s apart from this machine's", fix)
    return Finding("clock", "ok", f"{whose} is this machine's")


def from_address(address: str, **options: Any) -> httpx.Response:
    """Ask an address once; this machine is asked without the proxy that the environment may name.

    Args:
        address: The address.
        options: As for :func:`httpx.get`.

    Raises:
        httpx.HTTPError: There is no answer.
    """
    import httpx

    return httpx.get(address, timeout=10, trust_env=not _is_this_machine(urlsplit(address).hostname or ""), **options)


def looks_at_providers(configuration: Configuration) -> Iterator[Look]:
    """Give a look at each provider whose key is configured.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    from airflow_llm_provider.engine.runtime import Runtime

    settings = configuration.settings()
    runtime = Runtime(settings=settings)
    usual = [name for name in (*_MODEL_LISTS, "llm-forge") if runtime.configured_credentials(name).api_key]
    names = dict.fromkeys((*usual, *settings.api_keys))
    if not names:
        message = "no keys are configured here; Airflow connections are not looked at"
        yield "providers", "integrations.llm_forge", lambda: [Finding("providers", "ok", message)]
    for name in names:
        yield "providers", f"integrations.llm_forge, or the base URL of {name}", partial(_provider, runtime, name)


def _provider(runtime: Runtime, name: str) -> Iterator[Finding]:
    from airflow_llm_provider.clients.http import HttpClient

    if name not in _MODEL_LISTS:
        yield Finding("providers", "ok", f"{name} has a key; only a call would tell whether it is right")
        return
    credentials, client = runtime.configured_credentials(name), runtime.chat(name)
    assert isinstance(client, HttpClient)
    root, path = (credentials.base_url or client.default_base_url).rstrip("/"), _MODEL_LISTS[name]
    if path.startswith("/v1"):
        root = root.removesuffix("/v1").removesuffix("/v2")
    headers = {**client.authorization(credentials.api_key or ""), **credentials.headers}
    answer = from_address(f"{root}{path}", headers=headers)
    yield _told(name, answer, client.default_base_url)
    yield from _clock_of(name, answer)


def _told(name: str, answer: httpx.Response, usual: str) -> Finding:
    status = answer.status_code
    if status in (401, 403):
        return Finding("providers", "error", f"{name} refuses the key ({status})", f"set the right key of {name}")
    if status == 429:
        fix = "wait, ask for a higher limit, or see to the account's credit"
        return Finding("providers", "warning", f"{name} answers, but the key has no more requests left (429)", fix)
    if status >= 500:
        return Finding("providers", "warning", f"{name} answers {status}", "see the provider's status page")
    if status == 200 and "json" in answer.headers.get("content-type", ""):
        return Finding("providers", "ok", f"{name} answers, and takes the key")
    address = f"{answer.url.scheme}://{answer.url.host}{answer.url.path}"
    fix = f"correct the base URL of {name}; it is one such as {usual}"
    return Finding("providers", "error", f"{name} answers {status} at {address}, which is no list of models", fix)


def _clock_of(whose: str, answer: httpx.Response) -> Iterator[Finding]:
    if date := answer.headers.get("date"):
        # It has no fractions of a second: on average half of one has passed.
        yield clock(f"the clock of {whose}", parsedate_to_datetime(date).timestamp() + 0.5)


def looks_at_centre(configuration: Configuration) -> Iterator[Look]:
    """Give a look at each of the two servers that the centre of an edge site has.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    root = (configuration.edge.api_url or "").rstrip("/").removesuffix("/edge_worker/v1/rpcapi")
    tasks = configuration.server.tasks_address if configuration.server.execution_url else root
    for key, address in (
        ("edge.api_url", f"{root}/edge_worker/v1/health"),
        ("server.execution_url", f"{tasks}/execution/health"),
    ):
        yield "centre", key, partial(_at_centre, key, address)


def _at_centre(key: str, address: str) -> Iterator[Finding]:
    answer = from_address(address)
    if answer.status_code != 200:
        fix = f"correct {key}, and see to it that the centre has edge.enabled"
        yield Finding("centre", "error", f"{address} answers {answer.status_code}", fix)
        return
    yield Finding("centre", "ok", f"{address} answers")
    yield from _clock_of("the centre", answer)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
