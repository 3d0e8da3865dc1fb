"""A database that outlives its machine, by Patroni, etcd and HAProxy; and RabbitMQ as the queue.

What systemd does in production, a supervisor does here: it starts again what has ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import kombu
import psycopg
import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI
from airflow_llm_provider.cli.supervision import Component, Plan, read_state, write_plan
from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.simulator import SimulatorServer
from tests.conftest import free_port
from tests.integration.deployment.conftest import PASSWORD, System, is_healthy, run, simulated, until
from tests.integration.deployment.test_distributed import haproxy

CONFIG = """
home: {folder}/home
workflows: {{folder: {folder}/dags, refresh_interval: 2s}}
server:
  base_url: "http://127.0.0.1:{http}"
  execution_url: "http://127.0.0.1:{http}"
  port: {{http: {api}, execution: {execution}}}
database:
  url: postgresql://orchestrator:{password}@127.0.0.1:{postgres}/orchestrator
  pool: {{max_connections: 10, min_connections: 3, connection_timeout: 5s}}
  migrations: {{auto_run: false}}
execution:
  queue: {{url: "amqp://guest:guest@127.0.0.1:{amqp}//"}}
  executor: {{worker_threads: 4}}
  scheduler: {{scheduling_interval: 200ms}}
security:
  authentication:
    jwt_secret: "a secret that all machines share, and that nobody else can know at all"
    admin_password: {password}
topology:
  api_servers: [127.0.0.1]
  load_balancer: {{host: 127.0.0.1, http: {http}, stats: {stats}}}
  postgres:
    nodes: {{postgres1: "127.0.0.1:{one}:{patroni1}", postgres2: "127.0.0.1:{two}:{patroni2}"}}
    port: {postgres}
    etcd: ["127.0.0.1:{etcd}"]
    network: 127.0.0.1/32
    clients: []
    data_dir: {data}/main
    bin_dir: {programs}
    ttl: 20
    loop_wait: 2
    parameters: {{max_connections: 100, shared_buffers: 64MB, unix_socket_directories: ""}}
"""

WORKFLOW = """
name: chain
steps:
  - {id: first, provider: openai, model: gpt-4o-mini, prompt: "Begin"}
  - {id: second, provider: openai, model: gpt-4o-mini, prompt: "Go on", depends_on: [first]}
  - {id: both, type: transform, function: template, template: "{{ steps.second.output }}", depends_on: [second]}
outputs: {said: "{{ steps.both.output }}"}
"""

PASSWORDS = {
    "PATRONI_SUPERUSER_PASSWORD": PASSWORD,
    "PATRONI_REPLICATION_PASSWORD": PASSWORD,
    "PATRONI_REWIND_PASSWORD": PASSWORD,
}


def program(name: str) -> str:
    """Give where a program is."""
    # Debian's own rabbitmq-server on the path insists on the service's folders.
    found = shutil.which(name, path=f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed; with apt: patroni etcd-server rabbitmq-server")
    return found


def postgres_programs() -> str:
    """Give the folder of PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL's server is not installed")
    return str(found[-1].parent)


def as_postgres(folder: Path, *command: str) -> tuple[str, ...]:
    """Give a command that is run in a folder, and not by root, whom PostgreSQL refuses."""
    user = () if os.geteuid() else ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    return ("env", "--chdir", str(folder), *user, *command)


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    """Start a simulator whose models take their time."""
    with SimulatorServer([Rule(answer="an answer", delay=1)]) as server:
        yield server


@pytest.fixture
def data() -> Iterator[Path]:
    """Give a folder that is PostgreSQL's own."""
    with tempfile.TemporaryDirectory() as folder:
        if not os.geteuid():
            shutil.chown(folder, "postgres", "postgres")
        yield Path(folder)


@dataclass
class Cluster:
    """A system with a database of two machines.

    Attributes:
        system: Its processes.
        ports: Name of a part to its port.
        data: Folder of the database's machines.
    """

    system: System
    ports: dict[str, int]
    data: Path

    @property
    def url(self) -> str:
        """The address of the load balancer."""
        return f"http://127.0.0.1:{self.ports['http']}"

    def llm_orchestrator(self, *arguments: str) -> None:
        """Run a command, which has to succeed."""
        done = self.system.command(*arguments, "--config", str(self.system.config))
        assert done.returncode == 0, done.stderr

    def machine(self, name: str, *components: Component, **variables: str) -> None:
        """Start what starts again what has ended."""
        folder = self.system.folder / "machines" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_plan(Plan(components, folder))
        self.system.start(name, (sys.executable, "-m", "airflow_llm_provider.cli.supervisor", str(folder)), **variables)

    def members(self) -> dict[str, str]:
        """Give machine to role of the database's machines that are at work."""
        for number in (1, 2):
            with contextlib.suppress(httpx.HTTPError):
                answer = httpx.get(f"http://127.0.0.1:{self.ports[f'patroni{number}']}/cluster").json()
                return {member["name"]: member["role"] for member in answer["members"] if member["state"] == "running"}
        return {}

    def leader(self) -> str | None:
        """Name the machine that leads."""
        return next((name for name, role in self.members().items() if role == "leader"), None)

    def restarts(self) -> int:
        """Count how often a component was started again."""
        state = read_state(self.system.folder / "machines" / "components")
        return sum(component.restarts for component in state.components.values()) if state else 0

    def is_healthy(self) -> bool:
        """Tell whether all components are at work."""
        return is_healthy(self.url, "metadatabase", "scheduler", "triggerer", "dag_processor")

    def queue(self) -> tuple[int, int]:
        """Give how many tasks wait in RabbitMQ's queue, and how many workers take from it."""
        with kombu.Connection(f"amqp://guest:guest@127.0.0.1:{self.ports['amqp']}//") as connection:
            declared = connection.default_channel.queue_declare("default", passive=True)
            return declared.message_count, declared.consumer_count


@pytest.fixture
def cluster(tmp_path: Path, simulator: SimulatorServer, data: Path) -> Iterator[Cluster]:
    """Start all of it."""
    names = ("http", "stats", "postgres", "amqp", "one", "two", "patroni1", "patroni2", "etcd", "api", "execution")
    ports = {name: free_port() for name in names}
    for name in ("epmd", "rabbitmq-server", "etcd", "patroni"):
        program(name)
    with simulated(tmp_path, simulator) as system:
        made = Cluster(system, ports, data)
        places = {"folder": tmp_path, "data": data, "programs": postgres_programs(), "password": PASSWORD}
        system.config.write_text(CONFIG.format(**places, **ports))
        (tmp_path / "dags").mkdir()
        (tmp_path / "dags" / "chain.yaml").write_text(WORKFLOW)
        start_rabbitmq(made)
        start_database(made)
        made.llm_orchestrator("db", "init")
        start_components(made)
        yield made


def start_rabbitmq(cluster: Cluster) -> None:
    system, folder, port = cluster.system, cluster.system.folder / "rabbitmq", free_port()
    folder.mkdir()
    loopback = {"ERL_EPMD_PORT": str(port), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    # Started here, for otherwise RabbitMQ leaves one behind.
    system.start("epmd", (program("epmd"),), **loopback)
    system.start(
        "rabbitmq",
        (program("rabbitmq-server"),),
        **loopback,
        HOME=str(folder),
        RABBITMQ_NODENAME="tests@localhost",
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(cluster.ports["amqp"]),
        RABBITMQ_DIST_PORT=str(free_port()),
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}",
        RABBITMQ_MNESIA_BASE=str(folder / "mnesia"),
        RABBITMQ_LOG_BASE=str(folder / "log"),
        RABBITMQ_CONFIG_FILE=str(folder / "rabbitmq.conf"),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "plugins"),
        RABBITMQ_PID_FILE=str(folder / "pid"),
    )


def start_database(cluster: Cluster) -> None:
    system, ports, folder = cluster.system, cluster.ports, cluster.system.folder
    etcd, peers = f"http://127.0.0.1:{ports['etcd']}", f"http://127.0.0.1:{free_port()}"
    system.start(
        "etcd",
        (
            *(program("etcd"), "--name", "etcd", "--data-dir", str(folder / "etcd")),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers),
            *("--initial-advertise-peer-urls", peers, "--initial-cluster", f"etcd={peers}"),
        ),
    )
    cluster.llm_orchestrator("config", "render", "patroni", "--output", str(cluster.data))
    for name in ("postgres1", "postgres2"):
        database_machine(cluster, name)
    until(lambda: "sync_standby" in cluster.members().values(), system, "the replica keeps up")

    cluster.llm_orchestrator("config", "render", "haproxy", "--output", str(folder))
    binary, libraries = haproxy()
    system.start("haproxy", (binary, "-db", "-f", str(folder / "haproxy.cfg")), **libraries)
    address = f"127.0.0.1:{ports['postgres']}"
    superuser = f"postgresql://postgres:{PASSWORD}@{address}/postgres?target_session_attrs=read-write"
    # HAProxy takes both machines for leaders until it has asked them.
    with until(lambda: _connection(superuser), system, "HAProxy finds the leader") as connection:
        connection.execute(f"CREATE ROLE orchestrator LOGIN PASSWORD '{PASSWORD}'")
        connection.execute("CREATE DATABASE orchestrator OWNER orchestrator")


def database_machine(cluster: Cluster, name: str) -> None:
    """Start a machine of the database, and wait until it is at work."""
    file = cluster.data / f"{name}.yaml"
    file.chmod(0o644)
    # Both machines are one here.
    places = {"PATRONI_POSTGRESQL_DATA_DIR": f"{cluster.data}/{name}", "PATRONI_POSTGRESQL_PGPASS": f"{file}.pgpass"}
    command = as_postgres(cluster.data, program("patroni"), str(file))
    cluster.machine(name, Component("patroni", command), **PASSWORDS, **places)
    until(lambda: name in cluster.members(), cluster.system, f"{name} is at work")


def _connection(url: str) -> psycopg.Connection[Any] | None:
    with contextlib.suppress(psycopg.OperationalError):
        return psycopg.connect(url, autocommit=True)
    return None


def start_components(cluster: Cluster) -> None:
    system, parts = cluster.system, []
    for mode in ("api", "scheduler", "dag-processor", "triggerer", "worker"):
        command = (sys.executable, "-m", "airflow_llm_provider.cli", "server", "--mode", mode)
        variables = {
            "ORCHESTRATOR__HOME": f"{system.folder}/{mode}",
            "ORCHESTRATOR__AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "C_FORCE_ROOT": "true",
        }
        parts.append(Component(mode, (*command, "--config", str(system.config)), variables=variables, grace=60))
    cluster.machine("components", *parts)
    until(cluster.is_healthy, system, "healthy")


@pytest.mark.shows(
    "topology.postgres.scope", "topology.postgres.nodes", "topology.postgres.port", "topology.postgres.etcd",
    "topology.postgres.network", "topology.postgres.bin_dir", "topology.postgres.ttl", "topology.postgres.parameters",
    "execution.queue.url",
)  # fmt: skip
def test_the_databases_machine_is_lost_under_load(cluster: Cluster) -> None:
    system, first = cluster.system, cluster.leader()
    assert first is not None
    with contextlib.closing(AirflowAPI(cluster.url, "admin", PASSWORD)) as api:
        assert run(api, "chain", system).state == "success"
        assert cluster.queue() == (0, 1)

        runs = [api.trigger("chain", {}) for _ in range(5)]
        until(lambda: any(api.dag_run("chain", one.run_id).done for one in runs), system, "the first of them ends")
        # What has been answered is on both machines.
        runs.append(api.trigger("chain", {}))
        system.lose(first)
        until(lambda: cluster.leader() not in (None, first), system, "the replica leads")
        until(lambda: cluster.restarts() > 0 and cluster.is_healthy(), system, "its components are back")
        database_machine(cluster, first)

        assert {api.wait(one).state for one in runs} == {"success"}
        assert run(api, "chain", system).state == "success"
        # What waited in the queue was neither lost nor left.
        until(lambda: cluster.queue() == (0, 1), system, "the queue is empty")
    until(lambda: cluster.members().get(first) == "sync_standby", system, "the lost machine is back, as the replica")
