"""``llm-orchestrator doctor``: is everything there that a system needs, from this machine, and what to do where it is not.

It changes nothing but one small object in each object storage, which tells whether it can be written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["CHECKS", "Finding", "add_parser"]

Verdict = Literal["ok", "warning", "error"]

_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}

_LEAST_DISK = 2 * 1024**3
_CLOCK_SECONDS = 2.0

_MODEL_LISTS = {"openai": "/models", "anthropic": "/v1/models"}
"""Provider to where it lists its models."""


@dataclass(frozen=True)
class Finding:
    """What one look has found.

    Attributes:
        what: What was looked at.
        verdict: Whether it is as it should be.
        message: How it is.
        fix: What to do; empty when nothing is to be done.
    """

    what: str
    verdict: Verdict
    message: str
    fix: str = ""


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option

    parser = commands.add_parser("doctor", help="look for what keeps a system from working, and say what to do")
    add_config_option(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.config import config_file, read_or_report

    path = config_file(arguments.config)
    configuration = read_or_report(path).configuration
    if configuration is None:
        return EXIT_BAD_FILE
    found: list[Finding] = []
    for what, check in CHECKS.items():
        for finding in _looked(what, check, configuration):
            found.append(finding)
            if arguments.output == "text":
                _show(finding)
    if arguments.output == "json":
        print(json.dumps([asdict(finding) for finding in found], indent=2, ensure_ascii=False))
    return EXIT_FAILED if any(finding.verdict == "error" for finding in found) else EXIT_OK


def _looked(
    what: str, check: Callable[[Configuration], Iterator[Finding]], configuration: Configuration
) -> Iterator[Finding]:
    from airflow_llm_provider.clients.failures import redact
    from airflow_llm_provider.config.reading import secrets_of

    try:
        yield from check(configuration)
    except Exception as error:
        # Whatever a library raises is an answer here; its text may hold an address with a password.
        secrets = [part for secret in secrets_of(configuration) for part in (secret, urlsplit(secret).password)]
        text = redact(" ".join(str(error).split()), filter(None, secrets))[:300]
        yield Finding(what, "error", f"{type(error).__name__}: {text}", "see to what the message names")


def _show(finding: Finding) -> None:
    print(f"{_MARKS[finding.verdict]} {finding.what}: {finding.message}", flush=True)
    if finding.fix:
        print(f"    → {finding.fix}", flush=True)


def _environment(configuration: Configuration) -> Iterator[Finding]:
    from airflow_llm_provider.cli.started import Started
    from airflow_llm_provider.config.airflow_settings import environment, settings_of

    expected = environment(settings_of(configuration))
    different = sorted(
        name for name, value in os.environ.items() if name.startswith("AIRFLOW__") and expected.get(name) != value
    )
    if different:
        yield Finding(
            "configuration",
            "warning",
            f"the environment has {', '.join(different)}, which the components do not get",
            "say it in orchestrator.yaml, if need be under 'airflow', and unset the variables",
        )
    started = Started.read(configuration.home)
    if started is None:
        yield Finding("configuration", "ok", "no server was started from this home yet")
        return
    if changed := started.changed(configuration):
        yield Finding(
            "configuration",
            "warning",
            f"changed since the server was started: {', '.join(changed)}",
            "start the server again, or take the change back",
        )
    else:
        yield Finding("configuration", "ok", "the server that was started last has these settings")


def _database(configuration: Configuration) -> Iterator[Finding]:
    from sqlalchemy import create_engine, text

    from airflow_llm_provider.cli.components import component_environment
    from airflow_llm_provider.cli.database import trouble

    if configuration.database.url is None and not (configuration.home / "airflow.db").exists():
        yield Finding("database", "error", "there is none yet", "run: llm-orchestrator db init")
        return
    environment = component_environment(configuration, None)
    engine = create_engine(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.connect() as connection:
        begun = time.perf_counter()
        connection.execute(text("SELECT 1"))
        took = (time.perf_counter() - begun) * 1000
        yield Finding("database", "ok", f"{engine.dialect.name} answers in {took:.1f} ms")
        if engine.dialect.name == "postgresql":
            yield from _postgres(connection, configuration)
    engine.dispose()
    if wrong := trouble(environment):
        yield Finding("database", "error", wrong)
    else:
        yield Finding("database", "ok", "its tables are those of the installed Airflow")


def _postgres(connection: Any, configuration: Configuration) -> Iterator[Finding]:
    from sqlalchemy import text

    most = int(connection.execute(text("SHOW max_connections")).scalar())
    used = int(connection.execute(text("SELECT count(*) FROM pg_stat_activity")).scalar())
    each = configuration.database.pool.max_connections
    told = f"{used} of {most} connections are open; each process may open {each}"
    if used > 0.8 * most:
        fix = "raise max_connections of PostgreSQL, lower database.pool.max_connections, or put PgBouncer between"
        yield Finding("database", "warning", told, fix)
    else:
        yield Finding("database", "ok", told)
    there = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar())
    yield _clock("the database's clock", there)


def _clock(whose: str, there: float) -> Finding:
    apart = abs(time.time() - there)
    if apart > _CLOCK_SECONDS:
        fix = "let all machines take their time from NTP: tokens, schedules and limits go by it"
        return Finding("clock", "error", f"{whose} is {apart:.1f} s apart from this machine's", fix)
    return Finding("clock", "ok", f"{whose} is this machine's")


def _redis(configuration: Configuration) -> Iterator[Finding]:
    broker = configuration.broker if "celery" in configuration.executor else None
    urls = {"cache": configuration.cache.url.get_secret_value() if configuration.cache.url else None, "queue": broker}
    if not any(urls.values()):
        yield Finding("cache", "ok", "in memory, for the processes of this machine")
    for what, url in urls.items():
        if url is None:
            continue
        if not url.startswith(("redis", "unix")):
            yield from _broker(url)
            continue
        import redis

        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
            seconds, microseconds = client.time()
            yield Finding(what, "ok", "Redis answers")
            yield _clock("Redis' clock", seconds + microseconds / 1e6)
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
            if policy != "noeviction":
                fix = "set maxmemory-policy noeviction: tasks, budgets and limits are kept there"
                yield Finding(what, "warning", f"Redis forgets what it has no memory for ({policy})", fix)


def _broker(url: str) -> Iterator[Finding]:
    from kombu.connection import Connection

    with Connection(url, connect_timeout=5) as connection:  # type: ignore[no-untyped-call]
        connection.ensure_connection(max_retries=1)
    yield Finding("queue", "ok", "the broker answers")


def _storage(configuration: Configuration) -> Iterator[Finding]:
    from airflow_llm_provider.clients.objects import ObjectUrl, open_store

    places = {
        "fault_tolerance.checkpoint.storage": configuration.fault_tolerance.checkpoint.storage,
        "storage.results": configuration.storage.results,
        "observability.logging.tasks": configuration.observability.logging.tasks,
    }
    if not any(places.values()):
        yield Finding("object storage", "ok", "none is used")
    for key, place in places.items():
        if place is None:
            continue
        url = ObjectUrl.parse(f"file://{place}" if place.startswith("/") else place)
        store, told = open_store(url.scheme, configuration.storage), url.below(".llm-orchestrator-doctor")
        store.write(told, b"written by llm-orchestrator doctor", "text/plain")
        store.read(told, 100)
        yield Finding("object storage", "ok", f"{key} can be written and read")


def _providers(configuration: Configuration) -> Iterator[Finding]:
    import httpx

    from airflow_llm_provider.clients.http import HttpClient
    from airflow_llm_provider.engine.runtime import Runtime

    runtime = Runtime(settings=configuration.settings())
    looked = {name: runtime.configured_credentials(name) for name in _MODEL_LISTS}
    looked = {name: credentials for name, credentials in looked.items() if credentials.api_key}
    for name, credentials in looked.items():
        client = runtime.chat(name)
        assert isinstance(client, HttpClient)
        root = (credentials.base_url or client.default_base_url).rstrip("/")
        headers = {**client.authorization(credentials.api_key or ""), **credentials.headers}
        # The list of models costs nothing, and is given to those only whose key is right.
        answer = httpx.get(f"{root}{_MODEL_LISTS[name]}", headers=headers, timeout=10)
        if answer.status_code in (401, 403):
            message, fix = f"{name} refuses the key ({answer.status_code})", f"set the right key of {name}"
            yield Finding("providers", "error", message, fix)
        elif answer.status_code >= 500:
            message = f"{name} answers {answer.status_code}"
            yield Finding("providers", "warning", message, "see the provider's status page")
        else:
            yield Finding("providers", "ok", f"{name} answers, and takes the key")
    if not looked:
        yield Finding("providers", "ok", "no keys are configured here; Airflow connections are not looked at")


def _components(configuration: Configuration) -> Iterator[Finding]:
    import httpx

    server = configuration.server
    address = (server.base_url or server.address(server.port.http)).rstrip("/")
    try:
        answer = httpx.get(f"{address}/api/v2/monitor/health", timeout=10, verify=False)
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        fix = "start it: llm-orchestrator server; or name its address as server.base_url"
        yield Finding("components", "warning", f"no API server answers at {address} ({type(error).__name__})", fix)
        return
    for name, state in told.items():
        if state["status"] == "healthy":
            yield Finding("components", "ok", f"{name.replace('_', '-')} is healthy")
        elif name != "metadatabase" and state["status"] is None:
            mode = name.replace("_", "-")
            yield Finding(
                "components", "warning", f"no {mode} was ever seen", f"start one: llm-orchestrator server --mode {mode}"
            )
        else:
            last = next((value for key, value in state.items() if key.startswith("latest")), None)
            fix = "look at its log, and start it again"
            yield Finding("components", "error", f"{name.replace('_', '-')} is not healthy; last heard of {last}", fix)


def _disk(configuration: Configuration) -> Iterator[Finding]:
    for folder in dict.fromkeys((configuration.home, configuration.dags_folder)):
        there: Path = folder
        while not there.exists():
            there = there.parent
        usage = shutil.disk_usage(there)
        told = f"{usage.free / 1024**3:.1f} GiB are free below {folder}"
        if usage.free < _LEAST_DISK:
            yield Finding("disk", "error", told, "make room: old logs are in logs/ of the home")
        else:
            yield Finding("disk", "ok", told)


CHECKS: dict[str, Callable[[Configuration], Iterator[Finding]]] = {
    "configuration": _environment,
    "disk": _disk,
    "database": _database,
    "cache and queue": _redis,
    "object storage": _storage,
    "providers": _providers,
    "components": _components,
}
"""What is looked at, in this order."""
