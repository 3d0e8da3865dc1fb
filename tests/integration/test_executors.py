"""Executors that reach outside, or judge the work of others, over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from dag_factory import read_text


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer() as simulator:
        yield simulator


class Handler(BaseHTTPRequestHandler):
    """Sends every caller elsewhere, or repeats what it was told in an error."""

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("location", "/here?token=hidden-token")
            self.end_headers()
        elif self.path.startswith("/here"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"found": true}')
        elif self.path.startswith("/circle"):
            self.send_response(302)
            self.send_header("location", "/circle")
            self.end_headers()
        else:
            self.send_response(403)
            self.end_headers()
            self.wfile.write(
                f"no: {self.path} {self.headers.get('authorization')} {self.headers.get('x-flag')}".encode()
            )

    do_POST = do_GET  # noqa: N815 - the name that the library calls

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "method", "error"),
    [
        ("/moved", "GET", None),
        ("/moved", "POST", "a: InvalidRequest: 127.0.0.1 answered 302 and redirects to /here; write that address"),
        ("/circle", "GET", "a: InvalidRequest: 127.0.0.1 redirects in a circle"),
    ],
)
async def test_redirects(elsewhere: str, path: str, method: str, error: str | None) -> None:
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, type: 'http:request', method: {method}, url: '{elsewhere}{path}'}}\n"
    )
    assert result.error == error
    if error is None:
        assert result.outputs["a"] == {"output": {"found": True}}


async def test_what_a_server_repeats_holds_no_secret(elsewhere: str) -> None:
    step = (
        f"id: a, type: 'http:request', url: '{elsewhere}/key-in-the-path/x?token=token-in-query', "
        "headers: {authorization: 'Bearer {{ inputs.word }}', x-flag: on}"
    )
    result = await run(f"name: x\nsteps:\n  - {{{step}}}\n", word="token-in-header")
    assert result.error == "a: AuthenticationError: 127.0.0.1 answered 403: no: /***/x?token=*** *** on"


async def run(text: str, **inputs: object) -> RunResult:
    result = read_text("w.yaml", text)
    assert not result.errors, "\n".join(map(str, result.errors))
    async with Runtime() as runtime:
        return await run_workflow(result.workflows[0], inputs, runtime)


async def test_http_request(server: SimulatorServer) -> None:
    result = await run(
        """
name: x
steps:
  - id: models
    type: http:request
    url: "{{ inputs.server }}/v1/models"
    params: {after: a b}
    headers: {authorization: "Bearer {{ inputs.token }}"}
    output: [body, status, headers]
outputs:
  first: ${{ steps.models.body.data[0].id }}
  status: ${{ steps.models.status }}
""",
        server=server.base_url,
        token="any",
    )
    assert result.state == "completed", result.error
    assert result.outputs == {"first": "gpt-4o", "status": 200}


async def test_a_refused_request_fails_the_step(server: SimulatorServer) -> None:
    result = await run(f"name: x\nsteps:\n  - {{id: a, type: 'http:request', url: '{server.base_url}/v1/models'}}\n")
    assert result.error is not None
    assert result.error.startswith("a: AuthenticationError: 127.0.0.1 answered 401")


async def test_a_webhook_posts_the_steps_own_keys(server: SimulatorServer) -> None:
    url = f"{server.base_url}/_simulator/faults"
    result = await run(
        f"name: x\nsteps:\n  - {{id: a, type: action, action: webhook, url: '{url}', body: [{{status: 500}}]}}\n"
    )
    assert result.steps["a"].outputs == {"output": {"action": "webhook", "status": 204, "body": ""}}


ASSERT = """
apiVersion: orchestrator.llm/v1
kind: Workflow
metadata: {name: x}
spec:
  inputs: [{name: score, type: float, required: true}]
  tasks:
    - id: gate
      type: custom
      executor: orchestrator:assert
      inputs:
        condition: ${{ workflow.inputs.score >= 0.75 }}
        error_message: "score ${{ workflow.inputs.score }} is below 0.75"
"""


@pytest.mark.parametrize(("score", "error"), [(0.8, None), (0.5, "gate: AssertionFailed: score 0.5 is below 0.75")])
async def test_assert(score: float, error: str | None) -> None:
    result = await run(ASSERT, score=score)
    assert result.error == error
    assert result.steps["gate"].attempts == 1


async def test_assert_in_the_steps_notation() -> None:
    text = """
name: x
steps:
  - {id: gate, type: "orchestrator:assert", condition: "${{ score >= 0.75 }}", error_message: "only {{ score }}"}
"""
    assert (await run(text, score=0.8)).state == "completed"
    assert (await run(text, score=0.5)).error == "gate: AssertionFailed: only 0.5"
