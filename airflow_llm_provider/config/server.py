"""What ``orchestrator.yaml`` says of the running system: its processes, where they listen, and what they serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import Duration, FilePath, Port, QueueNames, Section, WebAddress

__all__ = ["MODES", "Edge", "Mode", "Ports", "Server", "Tls", "Workflows"]

Mode = Literal["standalone", "api", "scheduler", "dag-processor", "triggerer", "worker", "edge-worker"]

MODES: Mapping[Mode, str] = {
    "standalone": "everything, on this machine",
    "api": "the API server, with the pages, and beside it the one that tasks report to",
    "scheduler": "decides what runs next; a second one takes over when one is lost",
    "dag-processor": "reads the workflows",
    "triggerer": "holds what waits without a worker's slot",
    "worker": "runs tasks that come through the queue",
    "edge-worker": "runs tasks at another site, which it fetches over HTTP",
}
"""What each mode is."""


class Ports(Section):
    """Where the servers listen: section ``server.port``.

    Attributes:
        http: The port of the pages and the API.
        execution: The port that tasks report to, of a server of its own: a fan-out that keeps it busy then stops no page, and no
            page stops a task. By default the next one after ``http``.
        grpc: The port of the gRPC API.
    """

    http: Port = 8080
    execution: Port | None = None
    grpc: Port = 50051

    @property
    def for_tasks(self) -> int:
        """The port of the server that tasks report to."""
        return self.execution or self.http + 1


class Tls(Section):
    """Encryption of what the servers answer: section ``server.tls``.

    Attributes:
        enabled: Whether the servers speak https.
        cert_file: PEM file with the certificate and what leads to its root.
        key_file: PEM file with the certificate's key.
        ca_file: PEM file with the certificates of those whom tasks believe when they report, beside those whom everybody believes:
            for servers whose certificate is of one's own making.
    """

    enabled: bool = False
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    ca_file: FilePath | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.enabled and not (self.cert_file and self.key_file):
            raise ValueError("'enabled: true' needs 'cert_file' and 'key_file', the PEM files of certificate and key")
        return self


class Server(Section):
    """The process that ``llm-orchestrator server`` starts: section ``server``.

    Attributes:
        mode: Which processes this machine runs: all of them (``standalone``), or those of one kind.
        host: Address that the servers listen on.
        port: Ports to listen on.
        tls: Encryption.
        base_url: Where people reach the pages, for links; by default ``host`` and ``port.http``. All servers answer below its path.
        execution_url: Where tasks reach the server that they report to, such as a load balancer; by default ``host`` and
            ``port.execution``. Without a path of its own it has that of ``base_url``.
        behind_proxy: Whether the headers by which a proxy tells of the caller are believed.
        workers: Processes of each API server.
    """

    mode: Mode = "standalone"
    host: str = "127.0.0.1"
    port: Ports = Ports()
    tls: Tls = Tls()
    base_url: WebAddress | None = None
    execution_url: WebAddress | None = None
    behind_proxy: bool = False
    workers: int = Field(default=1, ge=1)

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "https" if self.tls.enabled else "http"

    @property
    def tasks_address(self) -> str:
        """The root of the server that tasks report to."""
        if self.execution_url:
            given = self.execution_url.rstrip("/").removesuffix("/execution")
            return given if urlsplit(given).path else given + self.path
        if self.mode == "standalone":
            # Only tasks of this machine report there; the certificate is for those who come from outside.
            return f"http://127.0.0.1:{self.port.for_tasks}{self.path}"
        return self.address(self.port.for_tasks)

    @property
    def path(self) -> str:
        """The path below which the servers answer: that of ``base_url``, without its last slash; mostly empty."""
        return urlsplit(self.base_url or "").path.rstrip("/")

    def address(self, port: int) -> str:
        """Give the root of a server of this machine.

        Args:
            port: Its port.
        """
        # Who listens everywhere is reached here as well.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{host}:{port}{self.path}"


class Workflows(Section):
    """The workflow files: section ``workflows``.

    Attributes:
        folder: Where the workflow files are: Airflow's dags folder. By default ``dags`` in the home.
        refresh_interval: Seconds between two looks for new and changed files.
    """

    folder: FilePath | None = None
    refresh_interval: Duration = 5.0


class Edge(Section):
    """Another site, whose workers fetch their tasks over HTTP: section ``edge``.

    Attributes:
        enabled: Whether this is the centre of such workers; a step goes to them by its ``airflow: {queue: NAME}``.
        api_url: Where a worker of the site reaches the centre, such as ``https://orchestrator.example.com``.
        queues: The queues whose tasks a worker of the site fetches; at the centre, which queues are the sites', and no others'.
        name: How the worker of the site is shown; by default the machine's name.
        concurrency: Tasks at once of a worker of the site; by default ``execution.executor.worker_threads``.
        poll_interval: Seconds between two questions of a site's worker for work.
        heartbeat_interval: Seconds between two signs of life of a site's worker.
        link_timeout: Seconds that the link may be lost before what a site has begun counts as lost, and is begun anew.
    """

    enabled: bool = False
    api_url: WebAddress | None = None
    queues: QueueNames = ("edge",)
    name: str | None = None
    concurrency: int | None = Field(default=None, ge=1)
    poll_interval: Duration = 1.0
    heartbeat_interval: Duration = 10.0
    link_timeout: Duration = 300.0
