"""What stands at the other end of traces and metrics: an OTLP receiver, and a StatsD."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class OTLPReceiver(ThreadingHTTPServer):
    """Keeps the spans that are sent to it over HTTP.

    Attributes:
        spans: All so far, each with the name of the service that it comes from.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[tuple[str, Span]] = []

    @property
    def url(self) -> str:
        """Where spans are sent."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"


class _Handler(BaseHTTPRequestHandler):
    server: OTLPReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans += [(named["service.name"], span) for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def otlp_receiver() -> Iterator[OTLPReceiver]:
    """Receive spans."""
    with OTLPReceiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


class StatsD:
    """Keeps the numbers that are sent to it.

    Attributes:
        lines: All so far.
        address: ``host:port``.
    """

    def __init__(self, endpoint: socket.socket) -> None:
        self.lines: list[str] = []
        self.address = f"127.0.0.1:{endpoint.getsockname()[1]}"
        self._endpoint = endpoint

    def receive(self) -> None:
        """Receive until the socket is closed."""
        with contextlib.suppress(OSError):
            while data := self._endpoint.recv(65536):
                self.lines += data.decode().splitlines()


@contextlib.contextmanager
def statsd() -> Iterator[StatsD]:
    """Receive numbers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        server = StatsD(endpoint)
        threading.Thread(target=server.receive, daemon=True).start()
        yield server
        # What is empty ends the receiver.
        endpoint.sendto(b"", endpoint.getsockname())
