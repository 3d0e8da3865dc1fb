"""What ``orchestrator.yaml`` becomes in Airflow: its options, as data, each with its reason and the key it follows from.

Airflow's own defaults are made for a few long tasks on a database server. LLM workflows are many short tasks: with the defaults
fifteen parallel tasks freeze the API server, and a step costs a second of waiting. So a few options are set whatever the file says;
they have no key. Whoever starts Airflow, or writes the files of a deployment, takes all of them from :func:`airflow_settings`;
nothing here imports Airflow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import SecretStr

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.setting import Setting, Variable
from airflow_llm_provider.config.variables import STORAGE_CONNECTION, variables

__all__ = ["airflow_settings", "settings_of"]

_EXECUTORS = {
    "local": "LocalExecutor",
    "celery": "CeleryExecutor",
    "kubernetes": "KubernetesExecutor",
    "celery-kubernetes": "CeleryExecutor,KubernetesExecutor",
}
"""Type of the executor to what Airflow calls it."""

_PRELOADED = "airflow_llm_provider.preloaded"
"""The module that loads what tasks need; it also loads what the variable ``ORCHESTRATOR_PRELOAD`` names."""

_EDGE_EXECUTOR = "airflow.providers.edge3.executors.EdgeExecutor"
_SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
_LEVELS = {"trace": "DEBUG", "debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR"}


_ALWAYS = (
    Setting(
        "core",
        "lazy_load_plugins",
        "False",
        "the workers' parent loads the plugins once and its forks inherit them; lazily, every task loads them",
    ),
    Setting("core", "auth_manager", _SIMPLE, "users with generated passwords need no user database"),
    Setting("core", "simple_auth_manager_users", "admin:admin", "the one user, with the admin role"),
    Setting("core", "load_examples", "False", "only the workflows are shown, and parsing stays short"),
    Setting("core", "min_serialized_dag_update_interval", "2", "an edit is stored at once, not after 30 s"),
    Setting("dag_processor", "stale_dag_threshold", "10", "a workflow whose file is gone soon leaves the list"),
    Setting("dag_processor", "parsing_processes", "1", "the few files of one folder need no second process"),
    Setting("scheduler", "orphaned_tasks_check_interval", "30", "work of a scheduler that was killed is taken up soon"),
    Setting(
        "scheduler",
        "task_instance_heartbeat_timeout",
        "60",
        "a task that was killed with its machine is seen after one minute, not after five",
    ),
    Setting(
        "scheduler",
        "num_stuck_in_queued_retries",
        "144",
        "a task may wait a day for a free worker; by default it fails after 3 × 10 minutes in the queue",
    ),
    Setting("core", "default_task_retry_delay", "10", "a task that was lost is run again soon, not after 5 minutes"),
    Setting(
        "workers",
        "execution_api_retries",
        "15",
        "a task outlasts a database or API server that is away for a minute; the default of 5 gives up after some 10 s",
    ),
    Setting("workers", "execution_api_retry_wait_max", "10", "and goes on soon after that; the default is up to 90 s"),
    Setting(
        "celery", "operation_timeout", "10", "a broker that is away for a moment loses no task; the default is 1 s"
    ),
)


def airflow_settings(configuration: Configuration) -> tuple[Setting, ...]:
    """Give the Airflow options of a system; a later one wins over an earlier one.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    return (
        *_ALWAYS,
        *_place(configuration),
        *_servers(configuration),
        *_database(configuration),
        *_execution(configuration),
        *_observability(configuration),
        *_storage(configuration),
        *_security(configuration),
        *_edge(configuration),
        *(
            Setting(
                section,
                key,
                value.get_secret_value() if isinstance(value, SecretStr) else str(value),
                "set by hand",
                f"airflow.{section}.{key}",
                is_secret=isinstance(value, SecretStr),
            )
            for section, options in configuration.airflow.items()
            for key, value in options.items()
        ),
    )


def settings_of(configuration: Configuration) -> tuple[Setting | Variable, ...]:
    """Give all that a system's environment is made of.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    return (*airflow_settings(configuration), *variables(configuration))


def _text(value: object) -> str:
    return str(value) if not isinstance(value, Path) else str(value.expanduser().absolute())


def _place(configuration: Configuration) -> Iterator[Setting]:
    home, refresh = configuration.home.absolute(), f"{configuration.workflows.refresh_interval:g}"
    interval = str(max(1, round(configuration.workflows.refresh_interval)))
    yield Setting(
        "core", "dags_folder", _text(configuration.dags_folder), "where the workflows are", "workflows.folder"
    )
    every = f"new and edited files are looked for every {refresh} s, not every 5 minutes"
    yield Setting("dag_processor", "refresh_interval", interval, every, "workflows.refresh_interval")
    every = f"an edited file is read within {refresh} s, not within 30"
    yield Setting("dag_processor", "min_file_process_interval", interval, every, "workflows.refresh_interval")
    soon = str(max(1, round(configuration.workflows.refresh_interval / 2)))
    yield Setting(
        "dag_processor",
        "bundle_refresh_check_interval",
        soon,
        "lets the refresh happen on time",
        "workflows.refresh_interval",
    )
    yield Setting("dag_processor", "dag_bundle_storage_path", str(home / "bundles"), "nothing is left in /tmp", "home")
    yield Setting("logging", "base_log_folder", str(home / "logs" / "tasks"), "task logs are kept in the home", "home")
    passwords = str(home / "passwords.json")
    yield Setting("core", "simple_auth_manager_passwords_file", passwords, "kept out of every log", "home")


def _servers(configuration: Configuration) -> Iterator[Setting]:
    server = configuration.server
    yield Setting("api", "host", server.host, "the address that the API server listens on", "server.host")
    yield Setting("api", "port", str(server.port.http), "the port of pages and API", "server.port.http")
    address = server.base_url or server.address(server.port.http)
    yield Setting("api", "base_url", address, "links in pages and logs lead here", "server.base_url")
    yield Setting("api", "workers", str(server.workers), "processes of each API server", "server.workers")
    why = "where tasks report: a server of its own, that no click in the pages can stop"
    if server.mode != "edge-worker" or server.execution_url:
        # A worker at another site finds it by the address of its centre.
        tasks = f"{server.tasks_address}/execution/"
        source = "server.execution_url" if server.execution_url else "server.port.execution"
        yield Setting("core", "execution_api_server_url", tasks, why, source)
    if server.tls.ca_file:
        authority = _text(server.tls.ca_file)
        yield Setting("api", "ssl_ca_file", authority, "whom tasks believe", "server.tls.ca_file")
    if server.tls.enabled and server.mode in ("standalone", "api"):
        yield Setting(
            "api", "ssl_cert", _text(server.tls.cert_file), "the API server speaks https", "server.tls.cert_file"
        )
        yield Setting(
            "api", "ssl_key", _text(server.tls.key_file), "the API server speaks https", "server.tls.key_file"
        )


def _database(configuration: Configuration) -> Iterator[Setting]:
    database, pool = configuration.database, configuration.database.pool
    url, why = _database_url(configuration)
    yield Setting("database", "sql_alchemy_conn", url, why, "database.url", is_secret=database.url is not None)
    if database.kind == "postgresql":
        why = "one driver for waiting and for asynchronous code"
        yield Setting("database", "sql_alchemy_conn_async", url, why, "database.url", is_secret=True)
    why = (
        "connections that a process keeps; with the overflow more than the 40 threads of an API server, which else can stop"
        " for 30 s while one request waits for a connection on the event loop (https://github.com/apache/airflow/issues/66493)"
    )
    yield Setting("database", "sql_alchemy_pool_size", str(pool.kept), why, "database.pool.min_connections")
    overflow = str(max(0, pool.max_connections - pool.kept))
    yield Setting(
        "database", "sql_alchemy_max_overflow", overflow, "connections beyond those", "database.pool.max_connections"
    )


def _database_url(configuration: Configuration) -> tuple[str, str]:
    database = configuration.database
    sqlite = (
        "a writer waits up to 60 s for its turn; after the driver's 5 s 'database is locked' ends scheduler, triggerer and"
        " dag processor"
    )
    if database.url is None:
        path = quote(str(configuration.home.absolute() / "airflow.db"), safe="/ ")
        return f"sqlite:///{path}?timeout=60", sqlite
    url = database.url.get_secret_value()
    if database.kind == "sqlite":
        return (url if "timeout=" in url else f"{url}{'&' if '?' in url else '?'}timeout=60"), sqlite
    parts = urlsplit(url)
    query = {"connect_timeout": f"{max(2, round(database.pool.connection_timeout))}"}
    # A driver that the file names is kept.
    scheme = parts.scheme if "+" in parts.scheme else "postgresql+psycopg"
    if configuration.topology.postgres.nodes and "+psycopg" in scheme:
        # HAProxy takes a replica for the leader until it has asked it: in the first seconds after its start.
        query["target_session_attrs"] = "read-write"
    query |= parse_qsl(parts.query)
    # SQLAlchemy reads the host of a local socket from the query, where urlunsplit would drop the empty one.
    return f"{scheme}://{parts.netloc}{parts.path}?{urlencode(query)}", "where Airflow keeps what it knows"


def _execution(configuration: Configuration) -> Iterator[Setting]:
    scheduler, executor = configuration.execution.scheduler, configuration.execution.executor
    kind, queue, slots = configuration.executor, str(scheduler.task_queue_size), str(executor.worker_threads)
    names = _EXECUTORS[kind] + (f",{_EDGE_EXECUTOR}" if configuration.edge.enabled else "")
    yield Setting("core", "executor", names, "what runs the tasks", "execution.executor.type")
    if kind == "local":
        yield Setting(
            "core", "parallelism", slots, "tasks at once on this machine", "execution.executor.worker_threads"
        )
    else:
        why, source = "tasks at once, in the queue or at work", "execution.scheduler.task_queue_size"
        yield Setting("core", "parallelism", queue, why, source)
    why = "a wide workflow is held by the executor's slots only"
    yield Setting("core", "max_active_tasks_per_dag", queue, why, "execution.scheduler.task_queue_size")
    why = "the pool of tasks that name none holds nothing back"
    yield Setting("core", "default_pool_task_slot_count", queue, why, "execution.scheduler.task_queue_size")
    runs, source = str(scheduler.max_parallel_workflows), "execution.scheduler.max_parallel_workflows"
    yield Setting("core", "max_active_runs_per_dag", runs, "runs of one workflow at once", source)
    yield Setting("scheduler", "max_dagruns_to_create_per_loop", runs, "new runs in one round", source)
    why = "the next step is looked for this often; the default of 1 s is added to every step of a chain"
    rest = f"{scheduler.scheduling_interval:g}"
    yield Setting("scheduler", "scheduler_idle_sleep_time", rest, why, "execution.scheduler.scheduling_interval")
    if "celery" not in kind:
        return
    yield Setting(
        "celery", "worker_concurrency", slots, "tasks at once of one worker", "execution.executor.worker_threads"
    )
    broker = configuration.broker
    if broker is not None:
        source = "execution.queue.url" if configuration.execution.queue.url else "cache.url"
        yield Setting("celery", "broker_url", broker, "the queue", source, is_secret=True)
        result, source = _result_backend(configuration, broker, source)
        why = "where workers tell how a task has ended"
        yield Setting("celery", "result_backend", result, why, source, is_secret=True)
        # A worker waits for a database that is away; else it takes tasks, cannot say so, and drops them.
        patience = {"result_backend_always_retry": True} if result.startswith("db+") else {}
        extra = json.dumps({"imports": [_PRELOADED], **patience})
        why = "workers load what tasks need before they fork, and wait for a database that is away"
        yield Setting("celery", "extra_celery_config", extra, why)


def _result_backend(configuration: Configuration, broker: str, source: str) -> tuple[str, str]:
    """Give where workers tell how a task has ended, and the key that it follows from."""
    backend = configuration.execution.queue.result_backend
    if backend is not None:
        return backend.get_secret_value(), "execution.queue.result_backend"
    if broker.startswith(("redis", "unix")):
        return broker, source
    return f"db+{_database_url(configuration)[0]}", "database.url"


def _observability(configuration: Configuration) -> Iterator[Setting]:
    logging, metrics = configuration.observability.logging, configuration.observability.metrics
    why, source = "which messages are written", "observability.logging.level"
    yield Setting("logging", "logging_level", _LEVELS[logging.level], why, source)
    if logging.level == "trace":
        # Airflow holds the logger of the statements at warnings, whatever level it is given.
        echo = json.dumps({"echo": True})
        yield Setting("database", "sql_alchemy_engine_args", echo, "every statement of the database", source)
    as_json = str(logging.format == "json")
    yield Setting("logging", "json_logs", as_json, "one JSON object a line", "observability.logging.format")
    if logging.tasks:
        source = "observability.logging.tasks"
        yield Setting("logging", "remote_logging", "True", "logs of tasks outlive the worker", source)
        yield Setting("logging", "remote_base_log_folder", logging.tasks, "where logs of tasks are kept", source)
        yield Setting("logging", "remote_log_conn_id", STORAGE_CONNECTION, "made of the section storage", source)
    if metrics.statsd:
        host, _, port = metrics.statsd.rpartition(":")
        source = "observability.metrics.statsd"
        yield Setting("metrics", "statsd_on", "True", "Airflow tells its numbers", source)
        yield Setting("metrics", "statsd_host", host, "whom", source)
        yield Setting("metrics", "statsd_port", port, "whom", source)
        yield Setting(
            "metrics", "statsd_influxdb_enabled", "True", "with their labels, which plain StatsD drops", source
        )
    if configuration.observability.tracing.enabled:
        yield Setting("traces", "otel_on", "True", "spans are sent", "observability.tracing.enabled")


def _storage(configuration: Configuration) -> Iterator[Setting]:
    results = configuration.storage.results
    if not results:
        return
    source, scheme = "storage.results", results.partition("://")
    # Airflow's own object storage names the connection in the URL.
    path = f"{scheme[0]}://{STORAGE_CONNECTION}@{scheme[2]}" if scheme[0] == "s3" else results
    backend = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
    yield Setting("core", "xcom_backend", backend, "large results do not fill the database", source)
    yield Setting("common.io", "xcom_objectstorage_path", path, "where large results are kept", source)
    threshold = str(configuration.storage.results_above)
    yield Setting("common.io", "xcom_objectstorage_threshold", threshold, "bytes", "storage.results_above")


def _security(configuration: Configuration) -> Iterator[Setting]:
    security = configuration.security
    open_to_all = str(not security.authentication.enabled)
    why = (
        "a password is asked for, on loopback too"
        if security.authentication.enabled
        else "nobody is asked who they are"
    )
    source = "security.authentication.enabled"
    yield Setting("core", "simple_auth_manager_all_admins", open_to_all, why, source)
    expiry = str(round(security.authentication.jwt_expiry))
    yield Setting("api_auth", "jwt_expiration_time", expiry, "seconds of a login", "security.authentication.jwt_expiry")
    for section, key, source, secret, why in (
        (
            "api_auth",
            "jwt_secret",
            "security.authentication.jwt_secret",
            security.authentication.jwt_secret,
            "all components sign with one secret, and a login outlives a restart",
        ),
        (
            "core",
            "fernet_key",
            "security.fernet_key",
            security.fernet_key,
            "connections in the database stay readable after a restart",
        ),
        (
            "api",
            "secret_key",
            "security.session_key",
            security.session_key,
            "sessions of the pages outlive a restart",
        ),
    ):
        if secret is not None:
            yield Setting(section, key, secret.get_secret_value(), why, source, is_secret=True)


def _edge(configuration: Configuration) -> Iterator[Setting]:
    edge, patience = configuration.edge, round(configuration.edge.link_timeout)
    if edge.enabled:
        yield Setting("edge", "api_enabled", "True", "the centre serves edge workers", "edge.enabled")
        why = "a task at a site whose link is lost for a while is not run a second time"
        longest = str(max(patience, 60))
        yield Setting("scheduler", "task_instance_heartbeat_timeout", longest, why, "edge.link_timeout")
        why = "a token that was not renewed while the link was lost still holds: it is renewed when a fifth of its time is left"
        yield Setting("execution_api", "jwt_expiration_time", str(max(600, 5 * patience)), why, "edge.link_timeout")
    if edge.api_url:
        address = edge.api_url.rstrip("/")
        path = "" if address.endswith("/edge_worker/v1/rpcapi") else "/edge_worker/v1/rpcapi"
        yield Setting("edge", "api_url", address + path, "where the worker fetches its tasks", "edge.api_url")
    if configuration.server.mode == "edge-worker":
        slots = edge.concurrency or configuration.execution.executor.worker_threads
        yield Setting("edge", "worker_concurrency", str(slots), "tasks at once", "edge.concurrency")
        why = "a worker whose link is lost waits for it; by default it ends after 5 minutes"
        yield Setting("edge", "api_retries", "1000000", why)
        yield Setting("edge", "api_retry_wait_max", "10", "a link that is back is used within 10 s, not 90")
        why = "what has ended while the link was lost is told when it is back"
        # Up to 10 s between two tries are 5 s on average.
        tries = str(5 + patience // 5)
        yield Setting("workers", "execution_api_retries", tries, why, "edge.link_timeout")
        yield Setting("workers", "execution_api_retry_wait_max", "10", "the same for what tasks report")
    if edge.enabled or edge.api_url:
        why = "a request that was held up for a while is still believed; a worker whose request is refused ends"
        yield Setting("api_auth", "jwt_leeway", "60", why)
        interval = str(max(1, round(edge.poll_interval)))
        yield Setting(
            "edge", "job_poll_interval", interval, "seconds between two questions for work", "edge.poll_interval"
        )
        interval = str(max(1, round(edge.heartbeat_interval)))
        yield Setting(
            "edge", "heartbeat_interval", interval, "seconds between two signs of life", "edge.heartbeat_interval"
        )
