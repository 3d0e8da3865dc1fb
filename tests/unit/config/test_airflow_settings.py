"""The Airflow settings, held against what Airflow itself says about its options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from airflow_llm_provider.config import airflow_settings as module
from airflow_llm_provider.config.airflow_settings import airflow_settings, settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.describe import describe
from airflow_llm_provider.config.secrets import secrets_of
from airflow_llm_provider.config.setting import Setting, Variable, environment

API_SERVER_THREADS = 40

EVERYTHING: Mapping[str, Any] = {
    "home": "/home/of/it",
    "server": {"tls": {"enabled": True, "cert_file": "/c", "key_file": "/k"}, "mode": "edge-worker"},
    "database": {"url": "postgresql://user:pass-of-db@host/name"},
    "execution": {"executor": {"type": "celery"}, "queue": {"url": "redis://:pass-of-queue@host"}},
    "observability": {
        "logging": {"tasks": "s3://bucket/logs", "level": "trace"},
        "metrics": {"statsd": "host:8125"},
        "tracing": {"enabled": True},
    },
    "storage": {
        "results": "s3://bucket/results",
        "s3": {"access_key_id": "the-key", "secret_access_key": "the-secret"},
    },
    "security": {
        "authentication": {"jwt_secret": "value of jwt_secret"},
        "fernet_key": "A" * 43 + "=",
        "session_key": "value of session_key",
    },
    "edge": {"enabled": True, "api_url": "https://host"},
}


def settings(**sections: Any) -> tuple[Setting | Variable, ...]:
    return settings_of(Configuration.model_validate({"home": "/home/of/it", **sections}))


def variables(**sections: Any) -> dict[str, str]:
    return environment(settings(**sections))


@pytest.fixture(scope="module")
def known_options() -> dict[str, set[str]]:
    """Give the options of Airflow and of the providers whose options are set, without importing Airflow."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations))) / "config_templates" / "config.yml"
    sections: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    known = {name: {*section["options"]} for name, section in sections.items()}
    from airflow.providers.celery.get_provider_info import get_provider_info as of_celery
    from airflow.providers.common.io.get_provider_info import get_provider_info as of_common_io

    for info in (of_celery(), of_common_io()):
        for name, section in info["config"].items():
            known.setdefault(name, set()).update(section["options"])
    # The edge provider is not among the tests' packages.
    known["edge"] = {"api_enabled", "api_url", "worker_concurrency", "job_poll_interval", "heartbeat_interval"}
    # These are read, and described nowhere.
    known["edge"] |= {"api_retries", "api_retry_wait_max"}
    known["scheduler"].add("num_stuck_in_queued_retries")
    return known


def test_airflow_knows_every_option(known_options: dict[str, set[str]]) -> None:
    for sections in (EVERYTHING, {}):
        made = airflow_settings(Configuration.model_validate(sections))
        assert [item for item in made if item.key not in known_options.get(item.section, set())] == []


def test_every_setting_has_a_reason() -> None:
    assert all(item.reason and "\n" not in item.reason for item in settings(**{**EVERYTHING}))


@pytest.mark.parametrize(
    "sections",
    [
        EVERYTHING,
        {},
        {
            "server": {"execution_url": "http://host", "behind_proxy": True},
            "execution": {"resources": {"gpu_limit": 1}},
        },
        {"execution": {"executor": {"type": "celery"}}, "cache": {"type": "redis", "url": "redis://host"}},
        {"execution": {"executor": {"type": "celery"}, "queue": {"url": "amqp://host"}}},
    ],
)
def test_every_setting_is_among_those_that_its_key_becomes(sections: dict[str, Any]) -> None:
    for item in settings(**sections):
        if item.source:
            keys = [
                key for name, key in describe().items() if name == item.source or name.startswith(f"{item.source}.")
            ]
            assert keys, item
            assert all(item.variable in key.settings for key in keys), item


def test_a_broker_follows_from_the_key_that_gives_it() -> None:
    celery, redis = {"executor": {"type": "celery"}}, {"type": "redis", "url": "redis://host"}
    made = {item.variable: item.source for item in settings(execution=celery, cache=redis)}
    assert (made["AIRFLOW__CELERY__BROKER_URL"], made["AIRFLOW__CELERY__RESULT_BACKEND"]) == ("cache.url", "cache.url")
    made = {item.variable: item.source for item in settings(execution={**celery, "queue": {"url": "amqp://h"}})}
    assert (made["AIRFLOW__CELERY__BROKER_URL"], made["AIRFLOW__CELERY__RESULT_BACKEND"]) == (
        "execution.queue.url",
        "database.url",
    )


def test_no_request_has_to_wait_for_a_connection() -> None:
    made = variables()
    sizes = (made[f"AIRFLOW__DATABASE__SQL_ALCHEMY_{name}"] for name in ("POOL_SIZE", "MAX_OVERFLOW"))
    assert sum(map(int, sizes)) > API_SERVER_THREADS


def test_every_secret_is_marked() -> None:
    configuration = Configuration.model_validate(EVERYTHING)
    secrets = {*secrets_of(configuration), "pass-of-db", "pass-of-queue"}
    shown = [item for item in settings_of(configuration) if not item.is_secret]
    assert not [item for item in shown for secret in secrets if secret in item.value]


@pytest.mark.parametrize("folder", ["plain", "with space", "100%", "what?"])
def test_sqlite_is_in_the_home_and_waits_for_its_turn(tmp_path: Path, folder: str) -> None:
    url = make_url(variables(home=str(tmp_path / folder))["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert url.query == {"timeout": "60"}
    # SQLAlchemy decodes the file's name from 2.1 on; names that need no encoding are the same before.
    if folder in ("plain", "with space"):
        assert url.database == str(tmp_path / folder / "airflow.db")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("postgresql://u:p%40@h:5433/d", "postgresql+psycopg://u:p%40@h:5433/d?connect_timeout=7"),
        ("postgres://h/d?sslmode=require", "postgresql+psycopg://h/d?connect_timeout=7&sslmode=require"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d?connect_timeout=7"),
        ("postgresql://u@/d?host=/var/run", "postgresql+psycopg://u@/d?connect_timeout=7&host=%2Fvar%2Frun"),
        ("postgresql://h/d?connect_timeout=3", "postgresql+psycopg://h/d?connect_timeout=3"),
        ("sqlite:////f/a.db", "sqlite:////f/a.db?timeout=60"),
        ("sqlite:////f/a.db?timeout=5", "sqlite:////f/a.db?timeout=5"),
    ],
)
@pytest.mark.shows("database.pool.connection_timeout")
def test_the_url_of_the_database(given: str, becomes: str) -> None:
    made = variables(database={"url": given, "pool": {"connection_timeout": "7s"}})
    assert made["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == becomes
    assert made.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", becomes) == becomes


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"server": {"port": {"http": 99}}}, {"API__PORT": "99", "API__BASE_URL": "http://127.0.0.1:99"}),
        ({"server": {"port": {"http": 99}}}, {"CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:100/execution/"}),
        (
            {"server": {"execution_url": "https://lb/execution/"}},
            {"CORE__EXECUTION_API_SERVER_URL": "https://lb/execution/"},
        ),
        ({"server": {"host": "0.0.0.0"}}, {"API__HOST": "0.0.0.0", "API__BASE_URL": "http://127.0.0.1:8080"}),
        ({"server": {"base_url": "https://o.example.com"}}, {"API__BASE_URL": "https://o.example.com"}),
        ({"workflows": {"folder": "/w"}}, {"CORE__DAGS_FOLDER": "/w"}),
        ({"workflows": {"refresh_interval": "1m"}}, {"DAG_PROCESSOR__REFRESH_INTERVAL": "60"}),
        (
            {"database": {"pool": {"max_connections": 20, "min_connections": 5}}},
            {"DATABASE__SQL_ALCHEMY_POOL_SIZE": "5", "DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "15"},
        ),
        (
            {"execution": {"executor": {"worker_threads": 3}}},
            {"CORE__EXECUTOR": "LocalExecutor", "CORE__PARALLELISM": "3"},
        ),
        (
            {"execution": {"executor": {"type": "celery", "worker_threads": 3}}},
            {"CORE__EXECUTOR": "CeleryExecutor", "CORE__PARALLELISM": "1000", "CELERY__WORKER_CONCURRENCY": "3"},
        ),
        (
            {"execution": {"executor": {"type": "celery-kubernetes"}}},
            {"CORE__EXECUTOR": "CeleryExecutor,KubernetesExecutor"},
        ),
        (
            {"edge": {"enabled": True}},
            {
                "CORE__EXECUTOR": "LocalExecutor,airflow.providers.edge3.executors.EdgeExecutor",
                "EDGE__API_ENABLED": "True",
            },
        ),
        (
            {"edge": {"enabled": True, "link_timeout": "5m"}},
            {"EXECUTION_API__JWT_EXPIRATION_TIME": "1500", "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300"},
        ),
        (
            {"server": {"mode": "edge-worker"}, "edge": {"api_url": "https://c", "link_timeout": "5m"}},
            {"WORKERS__EXECUTION_API_RETRIES": "65", "WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "10"},
        ),
        (
            {"server": {"base_url": "https://public/below/"}},
            {"CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:8081/below/execution/"},
        ),
        (
            {"server": {"mode": "api", "base_url": "https://public/below", "execution_url": "https://within"}},
            {"CORE__EXECUTION_API_SERVER_URL": "https://within/below/execution/"},
        ),
        (
            {
                "server": {
                    "mode": "api",
                    "base_url": "https://public/below",
                    "execution_url": "https://within/x/execution",
                }
            },
            {"CORE__EXECUTION_API_SERVER_URL": "https://within/x/execution/"},
        ),
        ({"edge": {"api_url": "https://c/"}}, {"EDGE__API_URL": "https://c/edge_worker/v1/rpcapi"}),
        (
            {"execution": {"executor": {"type": "celery"}}, "cache": {"type": "redis", "url": "redis://h:1/2"}},
            {"CELERY__BROKER_URL": "redis://h:1/2", "CELERY__RESULT_BACKEND": "redis://h:1/2"},
        ),
        (
            {
                "execution": {"executor": {"type": "celery"}, "queue": {"url": "amqp://h"}},
                "database": {"url": "postgresql://h/d"},
            },
            {
                "CELERY__BROKER_URL": "amqp://h",
                "CELERY__RESULT_BACKEND": "db+postgresql+psycopg://h/d?connect_timeout=30",
                "CELERY__EXTRA_CELERY_CONFIG": json.dumps(
                    {"imports": ["airflow_llm_provider.preloaded"], "result_backend_always_retry": True}
                ),
            },
        ),
        (
            {"database": {"url": "postgresql://h/d"}, "topology": {"postgres": {"nodes": {"postgres1": "10.0.2.10"}}}},
            {
                "DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg://h/d?connect_timeout=30"
                "&target_session_attrs=read-write"
            },
        ),
        ({"execution": {"scheduler": {"max_parallel_workflows": 7}}}, {"CORE__MAX_ACTIVE_RUNS_PER_DAG": "7"}),
        ({"execution": {"scheduler": {"task_queue_size": 7}}}, {"CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "7"}),
        ({"execution": {"scheduler": {"scheduling_interval": "1s"}}}, {"SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1"}),
        ({"observability": {"logging": {"level": "warn"}}}, {"LOGGING__LOGGING_LEVEL": "WARNING"}),
        ({"observability": {"logging": {"level": "orchestrator=debug,info"}}}, {"LOGGING__LOGGING_LEVEL": "INFO"}),
        ({"observability": {"logging": {"level": "trace"}}}, {"DATABASE__SQL_ALCHEMY_ENGINE_ARGS": '{"echo": true}'}),
        ({"observability": {"logging": {"format": "json"}}}, {"LOGGING__JSON_LOGS": "True"}),
        ({"observability": {"metrics": {"statsd": "h:9"}}}, {"METRICS__STATSD_HOST": "h", "METRICS__STATSD_PORT": "9"}),
        ({"security": {"authentication": {"enabled": False}}}, {"CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}),
        ({"security": {"authentication": {"jwt_expiry": "1h"}}}, {"API_AUTH__JWT_EXPIRATION_TIME": "3600"}),
        ({"server": {"tls": {"ca_file": "/ca.pem"}}}, {"API__SSL_CA_FILE": "/ca.pem"}),
        ({"airflow": {"core": {"parallelism": 5}}}, {"CORE__PARALLELISM": "5"}),
    ],
)
@pytest.mark.shows(
    "execution.scheduler.max_parallel_workflows",
    "execution.scheduler.task_queue_size",
    "execution.scheduler.scheduling_interval",
    "observability.logging.level",
    "security.authentication.jwt_expiry",
)
def test_a_key_becomes_a_setting(sections: dict[str, Any], expected: dict[str, str]) -> None:
    made = variables(**sections)
    assert {name: made[f"AIRFLOW__{name}"] for name in expected} == expected


@pytest.mark.parametrize(
    ("mode", "needed"), [("standalone", True), ("api", True), ("scheduler", False), ("worker", False)]
)
def test_only_servers_need_the_certificate(mode: str, needed: bool) -> None:
    made = variables(server={"mode": mode, "tls": {"enabled": True, "cert_file": "/c", "key_file": "/k"}})
    assert ("AIRFLOW__API__SSL_CERT" in made) == needed


def test_a_worker_at_another_site_reports_to_its_centre() -> None:
    made = variables(server={"mode": "edge-worker"}, edge={"api_url": "https://centre"})
    assert "AIRFLOW__CORE__EXECUTION_API_SERVER_URL" not in made


@pytest.mark.shows(
    "observability.tracing.enabled",
    "observability.tracing.exporter",
    "observability.tracing.endpoint",
    "observability.tracing.sample_rate",
)
def test_spans_go_to_the_port_that_takes_them() -> None:
    tracing = {"enabled": True, "exporter": "jaeger", "endpoint": "http://jaeger:14268/api/traces", "sample_rate": 0.1}
    made = variables(observability={"tracing": tracing})
    assert made["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://jaeger:4318/v1/traces"
    assert (made["OTEL_TRACES_SAMPLER"], made["OTEL_TRACES_SAMPLER_ARG"]) == ("parentbased_traceidratio", "0.1")


def test_airflow_reaches_object_storage_as_steps_do() -> None:
    made = variables(**{**EVERYTHING})
    connection = json.loads(made["AIRFLOW_CONN_LLM_STORAGE"])
    assert (connection["conn_type"], connection["login"], connection["password"]) == ("aws", "the-key", "the-secret")
    assert made["AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"] == "s3://llm_storage@bucket/results"
    assert made["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] == "llm_storage"


@pytest.mark.parametrize(("limit", "seen"), [(0, ""), (2, "0,1")])
def test_tasks_see_as_many_gpus_as_they_may(limit: int, seen: str) -> None:
    assert variables(execution={"resources": {"gpu_limit": limit}})["CUDA_VISIBLE_DEVICES"] == seen


def test_a_later_setting_wins() -> None:
    first, second = (Setting("core", "parallelism", value, "a test") for value in ("1", "2"))
    assert environment([first, second]) == {"AIRFLOW__CORE__PARALLELISM": "2"}


def test_nobody_else_can_reach_it_unless_the_file_says_so() -> None:
    made = variables()
    assert made["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert made["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"


def test_airflow_is_not_imported() -> None:
    code = "import sys, airflow_llm_provider.config.airflow_settings; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
