"""The simulator in a thread of the caller's process, on a free loopback port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from types import TracebackType

import uvicorn
from typing_extensions import Self

from airflow_llm_provider.clients.rules import Rule
from airflow_llm_provider.simulator.app import Simulator, create_app

__all__ = ["SimulatorServer"]


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class SimulatorServer:
    """A context manager that serves the simulator.

    Args:
        rules: How to answer; see :mod:`airflow_llm_provider.clients.rules`.
        batch_seconds: How long a batch takes.

    Attributes:
        simulator: Its faults, counters and seen requests.
    """

    def __init__(self, rules: Iterable[Rule] = (), batch_seconds: float = 0.0) -> None:
        self.simulator = Simulator(rules, batch_seconds)
        config = uvicorn.Config(create_app(self.simulator), log_level="error", access_log=False, lifespan="off")
        self._server = _Server(config)
        self._socket = socket.socket()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="simulator", daemon=True)

    @property
    def base_url(self) -> str:
        """Root of the server."""
        host, port = self._socket.getsockname()
        return f"http://{host}:{port}"

    @property
    def openai_base_url(self) -> str:
        """What ``OPENAI_BASE_URL`` must say."""
        return f"{self.base_url}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """What ``ANTHROPIC_BASE_URL`` must say."""
        return self.base_url

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._socket.bind(("127.0.0.1", 0))
        self._thread.start()
        self._server.listening.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
