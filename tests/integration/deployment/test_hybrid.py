"""A centre and an edge site: one step runs at the site, on the site's own model, also when the link is lost for a while."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault
from tests.conftest import free_port
from tests.integration.deployment.conftest import PASSWORD, System, is_healthy, run, until

PROVIDER = Path(sys.prefix) / "edge"
"""Where ``make test`` puts the edge provider: its plugin would cost each process of the other tests half a second."""

SECRET = "a-secret-that-centre-and-sites-share-and-that-nobody-else-can-know-at-all"

CENTRE = """
home: {folder}/centre
workflows: {{folder: {folder}/dags, refresh_interval: 2s}}
server: {{base_url: "http://127.0.0.1:{http}/below", port: {{http: {http}, execution: {execution}}}}}
database: {{url: "{database}"}}
edge: {{enabled: true, queues: [shop], heartbeat_interval: 2s, link_timeout: 60s}}
security: {{authentication: {{jwt_secret: {secret}, admin_password: {password}}}}}
"""

SITE = """
home: {folder}/site
workflows: {{folder: {folder}/site-dags}}
server: {{mode: edge-worker, execution_url: "http://127.0.0.1:{execution}/below"}}
edge: {{api_url: "http://127.0.0.1:{http}/below", name: shop-1, queues: [shop], concurrency: 4, poll_interval: 1s,
  heartbeat_interval: 2s, link_timeout: 60s}}
integrations: {{llm_forge: {{api_keys: {{openai: of-the-site}}}}}}
security: {{authentication: {{jwt_secret: {secret}}}}}
"""

WORKFLOW = """
name: hybrid
steps:
  - {id: plan, provider: openai, model: gpt-4o-mini, prompt: "Plan"}
  - {id: local, provider: openai, model: gpt-4o-mini, prompt: "On {{ steps.plan.output }}", airflow: {queue: shop}}
  - {id: report, type: transform, function: template, template: "{{ steps.local.output }}", depends_on: [local]}
outputs: {said: "{{ steps.report.output }}"}
"""


class Link:
    """The network between two sites: one port here for each there, until it is lost.

    Args:
        ports: Ports of the other side.
    """

    def __init__(self, *ports: int) -> None:
        self._is_up = True
        self._open: set[socket.socket] = set()
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
        self.ports = [listener.getsockname()[1] for listener in self._listeners]
        for listener, port in zip(self._listeners, ports, strict=True):
            threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def lose(self) -> None:
        """Cut all connections, and let none through."""
        self._is_up = False
        for one in [*self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let connections through again."""
        self._is_up = True

    def close(self) -> None:
        """End it."""
        self.lose()
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                if not self._is_up:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", port))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        self._open.add(source)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        source.close()
        self._open.discard(source)


@pytest.fixture
def site_model() -> Iterator[SimulatorServer]:
    with SimulatorServer() as server:
        yield server


def answered(model: SimulatorServer) -> int:
    """Give how many questions a model has answered."""
    return int(httpx.get(f"{model.base_url}/_simulator/stats").json()["answered"])


@pytest.mark.skipif(
    not PROVIDER.is_dir(), reason="the edge provider is not installed; `make setup` puts it into .venv/edge"
)
@pytest.mark.shows(
    "edge.enabled", "edge.api_url", "edge.queues", "edge.name", "edge.concurrency", "edge.poll_interval",
    "edge.heartbeat_interval", "edge.link_timeout",
)  # fmt: skip
def test_a_step_runs_at_the_site_also_when_the_link_is_lost_for_a_while(
    system: System, simulator: SimulatorServer, site_model: SimulatorServer, database: str, tmp_path: Path
) -> None:
    http, execution = free_port(), free_port()
    link = Link(http, execution)
    places = {"folder": tmp_path, "database": database, "secret": SECRET, "password": PASSWORD}
    system.config.write_text(CENTRE.format(http=http, execution=execution, **places))
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(http=link.ports[0], execution=link.ports[1], **places))
    for folder in ("dags", "site-dags"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "hybrid.yaml").write_text(WORKFLOW)
    # The centre's environment leads to its own models, and the site's to those of the site.
    with_provider = {"PYTHONPATH": os.pathsep.join(filter(None, (str(PROVIDER), os.environ.get("PYTHONPATH"))))}
    system.serve("standalone", "centre", **with_provider)
    # All servers answer below a path, as behind a proxy that other systems share.
    url = f"http://127.0.0.1:{http}/below"
    until(lambda: is_healthy(url, "metadatabase", "scheduler", "dag_processor"), system, "the centre is healthy")
    system.serve("edge-worker", "site", config=site, OPENAI_BASE_URL=site_model.openai_base_url, **with_provider)

    with (
        contextlib.closing(AirflowAPI(url, "admin", PASSWORD)) as api,
        psycopg.connect(database, autocommit=True) as db,
    ):

        def state() -> str:
            found = db.execute("SELECT state FROM edge_worker WHERE worker_name = 'shop-1'").fetchone()
            return found[0] if found else ""

        until(lambda: state() == "idle", system, "the site's worker is known to the centre")
        first = run(api, "hybrid", system)
        assert first.state == "success", system.said("site")
        assert (answered(simulator), answered(site_model)) == (1, 1)
        [local] = [task for task in api.task_instances(first) if task.task_id == "local"]
        assert any("gpt-4o-mini" in str(line) for line in api.log(first, local))
        hosts = dict(db.execute("SELECT task_id, hostname FROM task_instance").fetchall())
        assert [task for task, host in hosts.items() if host == "shop-1"] == ["local"]

        # The link is lost while the site's model thinks, and is back after it has answered.
        site_model.simulator.faults.add([Fault(delay=4)])
        slow = api.trigger("hybrid", {})
        until(lambda: site_model.simulator.calls == 2, system, "the site's model is asked")
        link.lose()
        waiting = api.trigger("hybrid", {})
        until(lambda: answered(site_model) == 2, system, "the site's model has answered")
        until(lambda: answered(simulator) == 3, system, "the first step of a run that begins meanwhile")
        link.mend()
        assert {api.wait(one, 120).state for one in (slow, waiting)} == {"success"}
        assert (answered(simulator), answered(site_model)) == (3, 3)
        assert {task.attempts for one in (slow, waiting) for task in api.task_instances(one)} == {1}

        assert system.stop("site") == 0
        assert state() == "offline"
    assert system.stop("centre") == 0
    link.close()
    assert system.left() == []
