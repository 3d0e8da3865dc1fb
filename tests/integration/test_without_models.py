"""Cassettes, estimates and test files: trying a workflow out without paying for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from xml.etree import ElementTree

import httpx
import pytest

from airflow_llm_provider.simulator import SimulatorServer
from tests.conftest import WORKFLOWS

ASKS = """
name: asks
inputs: {who: Ann}
steps:
  - {id: a, provider: openai, model: gpt-4o-mini, prompt: "Hello {{ inputs.who }}", system: "key {{ secrets.token }}",
     retry: {max_attempts: 3, initial_delay: 0}}
  - {id: b, type: embed, provider: openai, model: text-embedding-3-small, input: [x, y], dimensions: 8, output: [vectors]}
  - {id: c, provider: openai, model: gpt-4o-mini, prompt: "{{ steps.a }}", max_tokens: 10}
  - {id: d, type: action, action: webhook, url: "http://127.0.0.1:1/never"}
outputs: {c: "{{ steps.c }}", vectors: "${{ steps.b }}"}
"""


def orchestrator(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_llm_provider.cli", *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.run(
        command, capture_output=True, text=True, env={**kept, **(environment or {})}, check=False, cwd=WORKFLOWS.parent
    )


@pytest.fixture
def asks(tmp_path: Path) -> Path:
    path = tmp_path / "asks.yaml"
    path.write_text(ASKS.replace("- {id: d", "- {id: d, condition: 1 > 2"))
    return path


def test_what_was_recorded_is_replayed_without_key_and_network(asks: Path, tmp_path: Path) -> None:
    cassette = tmp_path / "answers.jsonl"
    secret = {"AIRFLOW_VAR_TOKEN": "s3cret-value"}
    with SimulatorServer() as simulator:
        httpx.post(f"{simulator.base_url}/_simulator/faults", json=[{"status": 503, "times": 1}]).raise_for_status()
        reachable = {"OPENAI_BASE_URL": simulator.openai_base_url, "OPENAI_API_KEY": "sk-simulator"}
        done = orchestrator(
            "run", str(asks), "--record", str(cassette), "--output", "json", environment={**reachable, **secret}
        )
    assert done.returncode == 0, done.stderr
    recorded = [json.loads(line) for line in cassette.read_text().splitlines()]
    assert sorted("error" in entry for entry in recorded) == [False, False, False, True]
    assert "s3cret-value" not in cassette.read_text()
    assert "sk-simulator" not in cassette.read_text()
    assert "key ***" in cassette.read_text()
    replayed = orchestrator("run", str(asks), "--replay", str(cassette), "--output", "json", environment=secret)
    assert replayed.returncode == 0, replayed.stderr
    first, again = json.loads(done.stdout), json.loads(replayed.stdout)
    assert again["outputs"] == first["outputs"]
    assert again["steps"]["a"]["usage"]["input_tokens"] == first["steps"]["a"]["usage"]["input_tokens"]
    assert sum(step["attempts"] for step in again["steps"].values()) == 4
    other = orchestrator("run", str(asks), "--replay", str(cassette), "--input", '{"who": "Bob"}', environment=secret)
    assert other.returncode == 1
    told = " ".join(other.stderr.split())
    assert "has no answer of openai/gpt-4o-mini to 'Hello Bob'; record the run again" in told


@pytest.mark.parametrize("content", [None, "no json", '{"key": "x"}'])
def test_a_cassette_that_cannot_be_read(asks: Path, tmp_path: Path, content: str | None) -> None:
    cassette = tmp_path / "answers.jsonl"
    if content is not None:
        cassette.write_text(content)
    done = orchestrator("run", str(asks), "--replay", str(cassette))
    assert done.returncode == 2
    assert f"the cassette {cassette} cannot be read: " in done.stderr


def test_an_estimate_asks_nobody_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "asks.yaml"
    path.write_text(ASKS)
    done = orchestrator("run", str(path), "--estimate", "--output", "json", environment={"AIRFLOW_VAR_TOKEN": "x"})
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["steps"]["d"] == {"state": "completed", "usage": None}
    assert told["steps"]["c"]["usage"]["output_tokens"] == 10
    assert told["steps"]["a"]["usage"]["output_tokens"] == 256
    assert told["total"]["output_tokens"] == 266
    assert told["total"]["cost_usd"] > 0
    shown = orchestrator("run", str(path), "--estimate", environment={"AIRFLOW_VAR_TOKEN": "x"})
    assert "An answer counts as its step's max_tokens, or 256 tokens." in shown.stdout


REACHES_OUT = """
name: reaches-out
steps:
  - {id: fetch, type: http:request, url: "URL/fetch", output: [body]}
  - {id: list, type: storage:s3-list, bucket: "file:///etc"}
  - {id: hook, type: action, action: webhook, url: "URL/hook"}
  - {id: slack, type: notification:slack, webhook_url: "URL/slack", message: hi}
  - {id: mail, type: notification:email, to: a@b.c, subject: s, body: t}
  - {id: log, type: action, action: log, message: hi}
  - {id: vectors, type: embed, provider: openai, model: text-embedding-3-small, input: [x], output: [vectors]}
  - {id: keep, type: vector_upsert, index: notes, ids: [a], vectors: "${{ steps.vectors }}"}
  - id: each
    type: orchestrator:fan-out
    items: "${{ steps.fetch }}"
    task_template: {provider: openai, model: m, prompt: "{{ item }}"}
outputs: {each: "${{ steps.each }}"}
"""


@pytest.fixture
def reaches_out(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Give a workflow that does what a rehearsal must not do, and what it has called."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        path = tmp_path / "reaches-out.yaml"
        path.write_text(REACHES_OUT.replace("URL", f"http://127.0.0.1:{server.server_port}"))
        yield path, asked
        server.shutdown()


def test_an_estimate_reaches_nothing(reaches_out: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, asked = reaches_out
    home = tmp_path / "home"
    home.mkdir()
    done = orchestrator("run", str(path), "--estimate", "--output", "json", environment={"HOME": str(home)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(json.loads(done.stdout)["left_out"]) == ["fetch", "hook", "list", "slack"]
    assert asked == []
    assert [*home.rglob("*")] == []
    shown = orchestrator("run", str(path), "--estimate", environment={"HOME": str(home)})
    assert "Left out, as they would reach out: " in shown.stdout


def test_a_case_reaches_nothing_and_may_say_what_would_have_come(
    reaches_out: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, asked = reaches_out
    home = tmp_path / "home"
    home.mkdir()
    cases = path.with_suffix(".test.yaml")
    cases.write_text("""
cases:
  - name: with stubs
    answers: [{answer: yes}]
    stubs: {fetch: {body: [p, q]}}
    expect: {steps: {fetch: completed, hook: completed}, outputs: {each: ["yes", "yes"]}}
  - name: without
    expect: {outputs: {each: [1]}}
""")
    done = orchestrator("test", str(cases), "--output", "json", environment={"HOME": str(home)})
    stubbed, plain = json.loads(done.stdout)
    assert stubbed["passed"], stubbed
    assert plain["misfits"][0] == "output each: expected [1], got []"
    assert "step fetch was left out, as it would reach out; 'stubs' may give its outputs (body)" in plain["misfits"]
    assert asked == []
    assert [*home.rglob("*")] == []


def test_no_secret_is_in_a_cassette_nor_needed_to_replay_it(tmp_path: Path) -> None:
    path, cassette = tmp_path / "secret.yaml", tmp_path / "answers.jsonl"
    path.write_text("""
name: secret
steps:
  - id: each
    type: orchestrator:fan-out
    items: [1]
    task_template:
      {type: orchestrator:workflow, workflow: inner, inputs: {token: "{{ secrets.token }}"}}
outputs: {each: "${{ steps.each }}"}
---
name: inner
inputs: [{name: token, type: string}]
steps:
  - {id: a, provider: openai, model: m, prompt: 'Say "{{ inputs.token }}"'}
outputs: {a: "{{ steps.a }}"}
""")
    secret = 'hush "quoted" \\ value'
    command = ["run", str(path), "--workflow", "secret", "--output", "json"]
    done = orchestrator(*command, "--offline", "--record", str(cassette), environment={"AIRFLOW_VAR_TOKEN": secret})
    assert done.returncode == 0, done.stdout
    assert "hush" not in cassette.read_text()
    again = orchestrator(*command, "--replay", str(cassette), environment={"AIRFLOW_VAR_TOKEN": "another"})
    assert again.returncode == 0, again.stdout


def test_a_last_line_that_was_cut_off_does_not_count(asks: Path, tmp_path: Path) -> None:
    cassette = tmp_path / "answers.jsonl"
    done = orchestrator(
        "run", str(asks), "--offline", "--record", str(cassette), environment={"AIRFLOW_VAR_TOKEN": "x"}
    )
    assert done.returncode == 0, done.stderr
    cassette.write_text(cassette.read_text() + '{"key": "x')
    again = orchestrator("run", str(asks), "--replay", str(cassette), environment={"AIRFLOW_VAR_TOKEN": "x"})
    assert again.returncode == 0, again.stderr


def test_the_examples_pass_their_tests() -> None:
    done = orchestrator("test", str(WORKFLOWS))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].endswith("passed, 0 failed")


CASES = """
cases:
  - name: as expected
    inputs: {text: tea}
    answers: [{match: tea, answer: A warm drink.}]
    secrets: {token: abc}
    expect:
      steps: {a: completed}
      outputs: {text: A warm drink., length: {at_least: 5, at_most: 20}}
      scores: {a: [{metric: f1_score, ground_truth: a warm drink, at_least: 0.9}]}
  - name: not as expected
    inputs: {text: tea}
    answers: [{match: tea, answer: Cold.}]
    expect:
      state: failed
      steps: {a: failed, z: completed}
      outputs: {text: {contains: warm, matches: "^A"}, nothing: 1}
      scores: {a: [{metric: f1_score, ground_truth: a warm drink, at_least: 0.9}]}
      max_tokens: 1
  - name: refused
    inputs: {text: 5}
    expect: {state: refused, error: "text: 5 is not of type 'string'"}
"""

WORKFLOW = """
name: drinks
inputs: [{name: text, type: string}]
steps: [{id: a, provider: openai, model: gpt-4o-mini, prompt: "What is {{ inputs.text }}?"}]
outputs: {text: "{{ steps.a }}", length: "${{ length(steps.a) }}"}
"""


@pytest.fixture
def drinks(tmp_path: Path) -> Path:
    (tmp_path / "drinks.yaml").write_text(WORKFLOW)
    path = tmp_path / "drinks.test.yaml"
    path.write_text(CASES)
    return path


def test_cases(drinks: Path) -> None:
    done = orchestrator("test", str(drinks), "--output", "json")
    assert done.returncode == 1
    passed, failed, refused = json.loads(done.stdout)
    assert (passed["passed"], refused["passed"]) == (True, True), (passed, refused)
    assert failed["misfits"] == [
        "state: expected failed, got completed (None)",
        "step a: expected failed, got completed",
        "step z: expected completed, got none of that name",
        "output text: expected 'warm' in it, got 'Cold.'",
        "output nothing: there is none; there are text, length",
        "tokens: expected at most 1, got 5",
        "f1_score of a: expected at least 0.9, got 0",
    ]
    only = orchestrator("test", str(drinks), "-k", "as expected", "-k", "refused")
    assert only.stdout.splitlines()[-1] == "1 passed, 0 failed"
    suite = ElementTree.fromstring(orchestrator("test", str(drinks.parent), "--output", "junit").stdout)
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("inptus:", "inputs:", ":4:5: unknown key 'inptus'; did you mean 'inputs'?"),
        ("stubs: {b: {text: x}}", "secrets: {token: abc}", "the workflow has no step 'b'"),
        ("stubs: {a: {txt: x}}", "secrets: {token: abc}", "step 'a' has no output 'txt'"),
        ("answers: [{mach: tea, ", "answers: [{match: tea, ", "unknown key 'mach'; did you mean 'match'?"),
        ("metric: f1", "metric: f1_score", "'metric' is 'f1'; expected one of "),
        ("at_least: 9", "at_least: 0.9", "'at_least' is 9; at most 1 is allowed"),
        (
            "workflow: x.yaml\ncases:",
            "cases:",
            "there is no workflow file 'x.yaml' beside it; name it under 'workflow'",
        ),
    ],
)
def test_a_file_of_cases_is_checked(drinks: Path, wrong: str, right: str, message: str) -> None:
    drinks.write_text(CASES.replace(right, wrong))
    done = orchestrator("test", str(drinks))
    assert done.returncode == 2
    assert message in done.stderr
