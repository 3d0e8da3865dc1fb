"""What a doctor looks at on a machine, by its mode: settings, disk, database, cache, queue, object storage and Airflow's parts.

What is asked over HTTP beside Airflow, the providers and the centre of a site, is in
:mod:`airflow_llm_provider.cli.looks_http`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from airflow_llm_provider.cli.components import component_environment
from airflow_llm_provider.cli.database import URL_VARIABLE, trouble
from airflow_llm_provider.cli.finding import Finding, Look
from airflow_llm_provider.cli.health import JOBS, SILENCE, last_heard
from airflow_llm_provider.cli.health import trouble as trouble_of_mode
from airflow_llm_provider.cli.looks_http import clock, from_address, looks_at_centre, looks_at_providers
from airflow_llm_provider.cli.started import Started
from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.database import sqlite_file
from airflow_llm_provider.config.setting import environment

__all__ = ["looks"]

_LEAST_DISK = 2 * 1024**3


def looks(configuration: Configuration, started: Started | None) -> Iterator[Look]:
    """Give all looks that fit the mode of the configuration, in their order.

    Args:
        configuration: What ``orchestrator.yaml`` says.
        started: What was started last from the home.
    """
    mode = configuration.server.mode
    yield "configuration", "home", partial(_configuration, configuration, started)
    for folder in dict.fromkeys((configuration.home, configuration.dags_folder)):
        yield "disk", "home", partial(_disk, folder)
    if mode != "edge-worker":
        if mode != "worker" or configuration.keeps_results_in_database:
            yield "database", "database.url", partial(_database, configuration)
        yield from _looks_at_redis(configuration)
    yield from _looks_at_storage(configuration)
    yield from looks_at_providers(configuration)
    if mode == "edge-worker":
        yield from looks_at_centre(configuration)
    elif mode in ("standalone", "api") or configuration.server.base_url:
        yield "components", "server.base_url", partial(_components, configuration, started)
    else:
        yield "components", "server.mode", partial(_component, configuration, started)


def _configuration(configuration: Configuration, started: Started | None) -> Iterator[Finding]:
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
    if started is None:
        yield Finding("configuration", "ok", "no server was started from this home yet")
    elif changed := started.changed(configuration):
        yield Finding(
            "configuration",
            "warning",
            f"changed since the server was started: {', '.join(changed)}",
            "start the server again, or take the change back",
        )
    else:
        yield Finding("configuration", "ok", "the server that was started last has these settings")


def _disk(folder: Path) -> Iterator[Finding]:
    there = folder
    while not there.exists():
        there = there.parent
    usage = shutil.disk_usage(there)
    told = f"{usage.free / 1024**3:.1f} GiB are free below {folder}"
    if usage.free < _LEAST_DISK:
        yield Finding("disk", "error", told, "make room: old logs are in logs/ of the home")
    else:
        yield Finding("disk", "ok", told)


def _database(configuration: Configuration) -> Iterator[Finding]:
    from sqlalchemy import create_engine, text

    variables = component_environment(configuration, None)
    file = sqlite_file(variables[URL_VARIABLE])
    if file is not None and not file.exists():
        yield Finding("database", "error", f"there is none yet at {file}", "run: llm-orchestrator db init")
        return
    engine = create_engine(variables[URL_VARIABLE])
    with engine.connect() as connection:
        begun = time.perf_counter()
        connection.execute(text("SELECT 1"))
        took = (time.perf_counter() - begun) * 1000
        yield Finding("database", "ok", f"{engine.dialect.name} answers in {took:.1f} ms")
        if engine.dialect.name == "postgresql":
            yield from _postgres(connection, configuration)
    engine.dispose()
    if wrong := trouble(variables):
        yield Finding("database", "error", *wrong.split("; ", 1))
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
    yield clock("the database's clock", there)


def _looks_at_redis(configuration: Configuration) -> Iterator[Look]:
    queue = configuration.broker if "celery" in configuration.executor else None
    cache = configuration.cache.url.get_secret_value() if configuration.cache.url else None
    if not queue and not cache:
        yield "cache", "cache.url", lambda: [Finding("cache", "ok", "in memory, for the processes of this machine")]
    for what, key, url in (("cache", "cache.url", cache), ("queue", "execution.queue.url", queue)):
        if url is not None:
            yield what, key, partial(_redis if url.startswith(("redis", "unix")) else _broker, what, url)


def _redis(what: str, url: str) -> Iterator[Finding]:
    import redis

    with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
        client.ping()
        seconds, microseconds = client.time()
        yield Finding(what, "ok", "Redis answers")
        yield clock("Redis' clock", seconds + microseconds / 1e6)
        try:
            policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
        except redis.ResponseError:
            # The user has no right to ask, or whoever runs it lets nobody.
            yield Finding(what, "ok", "Redis does not tell what it does when its memory is full")
            return
        if policy != "noeviction":
            fix = "set maxmemory-policy noeviction: tasks, budgets and limits are kept there"
            yield Finding(what, "warning", f"Redis forgets what it has no memory for ({policy})", fix)


def _broker(what: str, url: str) -> Iterator[Finding]:
    from kombu.connection import Connection

    with Connection(url, connect_timeout=5) as connection:  # type: ignore[no-untyped-call]
        connection.ensure_connection(max_retries=1)
    yield Finding(what, "ok", "the broker answers")


def _looks_at_storage(configuration: Configuration) -> Iterator[Look]:
    places = {
        "fault_tolerance.checkpoint.storage": configuration.fault_tolerance.checkpoint.storage,
        "storage.results": configuration.storage.results,
        "observability.logging.tasks": configuration.observability.logging.tasks,
    }
    what = "object storage"
    if not any(places.values()):
        yield what, "storage", lambda: [Finding(what, "ok", "none is used")]
    for key, place in places.items():
        if place:
            yield what, f"{key}, or in storage", partial(_storage, configuration, key, place)


def _storage(configuration: Configuration, key: str, place: str) -> Iterator[Finding]:
    from airflow_llm_provider.clients.objects import ObjectUrl, open_store

    url = ObjectUrl.parse(f"file://{place}" if place.startswith("/") else place)
    store, told = open_store(url.scheme, configuration.storage), url.below(".llm-orchestrator-doctor")
    store.write(told, b"written by llm-orchestrator doctor", "text/plain")
    store.read(told, 100)
    yield Finding("object storage", "ok", f"{key} can be written and read")


def _components(configuration: Configuration, started: Started | None) -> Iterator[Finding]:
    import httpx

    server = configuration.server
    address = (server.base_url or server.address(server.port.http)).rstrip("/")
    try:
        answer = from_address(f"{address}/api/v2/monitor/health", verify=False)
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        message = f"no API server answers at {address} ({type(error).__name__})"
        fix = "start it: llm-orchestrator server; or name its address as server.base_url"
        yield Finding("components", "warning" if started is None else "error", message, fix)
        if started is not None:
            yield from _signs_of_life(configuration)
        return
    for name, state in told.items():
        mode = name.replace("_", "-")
        if state["status"] == "healthy":
            yield Finding("components", "ok", f"{mode} is healthy")
        elif name != "metadatabase" and state["status"] is None:
            yield Finding(
                "components", "warning", f"no {mode} was ever seen", f"start one: llm-orchestrator server --mode {mode}"
            )
        else:
            last = next((value for key, value in state.items() if key.startswith("latest")), None)
            fix = "look at its log, and start it again"
            yield Finding("components", "error", f"{mode} is not healthy; last heard of {last}", fix)


def _signs_of_life(configuration: Configuration) -> Iterator[Finding]:
    """Ask the database, where components tell that they live."""
    for mode in JOBS:
        silence = last_heard(configuration, mode)
        if silence is None:
            yield Finding("components", "error", f"no {mode} is at work", "look at its log, and start it again")
        elif silence > SILENCE:
            message, fix = f"the {mode} was last heard of {silence:.0f} s ago", "look at its log, and start it again"
            yield Finding("components", "error", message, fix)
        else:
            yield Finding("components", "ok", f"{mode} was heard of {silence:.0f} s ago")


def _component(configuration: Configuration, started: Started | None) -> Iterator[Finding]:
    mode = configuration.server.mode
    if started is None:
        fix = f"start it: llm-orchestrator server --mode {mode}"
        yield Finding("components", "warning", f"no {mode} was started from this home yet", fix)
    elif wrong := trouble_of_mode(configuration):
        yield Finding("components", "error", wrong, "look at its log, and start it again")
    else:
        yield Finding("components", "ok", f"{mode} is at work")
