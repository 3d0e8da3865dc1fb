"""``llm-orchestrator`` as its user calls it: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import WORKFLOWS

SCRIPTED = """\
name: two-steps
steps:
  - {id: a, provider: scripted, model: m, prompt: "one {{ inputs.x }}"}
  - {id: b, provider: scripted, model: m, prompt: "two {{ steps.a.output }}"}
"""


def orchestrator(
    *arguments: str, stdin: str | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow_llm_provider.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@pytest.fixture
def two_steps(tmp_path: Path) -> Path:
    path = tmp_path / "two-steps.yaml"
    path.write_text(SCRIPTED)
    return path


def test_validate_a_folder() -> None:
    done = orchestrator("validate", str(WORKFLOWS))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{WORKFLOWS}/sentiment-analysis.yaml: sentiment-analysis, 3 steps, steps notation: valid" in done.stdout


def test_validate_names_every_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\nsteps:\n  - {id: a, provider: openai, model: m, promt: p}\n  - {id: a, type: actoin}\n")
    done = orchestrator("validate", str(bad))
    assert done.returncode == 2
    assert f"{bad}:3:41: unknown key 'promt'; did you mean 'prompt'?" in done.stderr
    assert f"{bad}:4:19: no executor is called 'actoin'; did you mean 'action'?" in done.stderr
    assert "^" in done.stderr


WRONG = "name: x\nsteps:\n  - {id: a, provider: openai, model: m, promt: p}\n"


def test_validate_for_programs(tmp_path: Path) -> None:
    bad = tmp_path / "bad, file.yaml"
    bad.write_text(WRONG)
    [told] = json.loads(orchestrator("validate", "--format", "json", str(bad)).stdout)
    assert told == {
        "path": str(bad),
        "line": 3,
        "column": 41,
        "severity": "error",
        "message": "unknown key 'promt'",
        "suggestion": "did you mean 'prompt'?",
    }
    github = orchestrator("validate", "--format", "github", str(bad))
    where = f"file={tmp_path}/bad%2C file.yaml,line=3,col=41"
    assert github.stdout == f"::error {where}::unknown key 'promt'; did you mean 'prompt'?\n"
    sarif = json.loads(orchestrator("validate", "--format", "sarif", str(bad)).stdout)
    [result] = sarif["runs"][0]["results"]
    assert (sarif["version"], result["level"]) == ("2.1.0", "error")
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 41}


def test_validate_sees_a_name_used_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(SCRIPTED)
    done = orchestrator("validate", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"))
    assert done.returncode == 2
    assert "b.yaml:1:7: the name 'two-steps' is taken by" in done.stderr


def test_run_writes_progress_and_outputs(two_steps: Path) -> None:
    done = orchestrator("run", str(two_steps), "--input", '{"x": 1}')
    assert done.returncode == 0, done.stderr
    assert "✓ a: " in done.stderr
    assert "completed in " in done.stderr
    assert done.stdout.startswith("a: {")


@pytest.mark.parametrize("how", ["json", "file", "stdin"])
def test_run_takes_input(two_steps: Path, tmp_path: Path, how: str) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"x": "tea"}')
    given = {"json": '{"x": "tea"}', "file": str(file), "stdin": "-"}[how]
    done = orchestrator("run", str(two_steps), "--input", given, "--output", "json", stdin='{"x": "tea"}')
    result = json.loads(done.stdout)
    assert (result["state"], result["steps"]["b"]["state"]) == ("completed", "completed")
    assert "tea" in result["steps"]["a"]["outputs"]["output"]


def test_run_does_not_import_airflow_nor_a_network_client(two_steps: Path) -> None:
    code = (
        "import sys; from airflow_llm_provider.cli import main; "
        f"assert main(['run', {str(two_steps)!r}, '--input', '{{}}']) == 0; "
        "print([name for name in ('airflow', 'httpx', 'openai', 'jsonschema', 'genai_prices') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_example_runs_offline_without_keys(tmp_path: Path) -> None:
    example = WORKFLOWS / "sentiment-analysis.yaml"
    rules = tmp_path / "rules.yaml"
    rules.write_text("- match: What is the sentiment\n  answer: positive\n")
    done = orchestrator(
        "run",
        str(example),
        "--offline",
        "--output",
        "json",
        "--input",
        '{"text": "hm"}',
        environment={"LLM_SCRIPT": str(rules)},
    )
    result = json.loads(done.stdout)
    assert result["outputs"]["sentiment"] == "positive"
    assert result["steps"]["classify"]["usage"]["provider"] == "scripted"
    assert result["steps"]["classify"]["usage"]["cost_usd"] == 0


def test_a_failed_run_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\nsteps:\n  - {id: a, type: transform, function: json_parse, inputs: ['no json {']}\n")
    done = orchestrator("run", str(path), "--output", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("a: InvalidOutput: not JSON")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "{"], "--input is not JSON"),
        (["--input", "[1]"], "--input must be a JSON object"),
        (["--input", "no-such.json"], "--input is neither a JSON object nor a file that can be read"),
        (["--workflow", "other"], "holds 'two-steps'; choose one with --workflow"),
        (["--config", "no-such.yaml"], "no-such.yaml:1:1: the configuration cannot be read: No such file"),
    ],
)
def test_what_cannot_be_used_exits_with_2(two_steps: Path, arguments: list[str], message: str) -> None:
    done = orchestrator("run", str(two_steps), *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_key_is_told_before_any_call(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("name: x\nsteps:\n  - {id: a, provider: openai, model: m, prompt: p}\n")
    done = orchestrator("run", str(path), "--output", "json")
    assert done.returncode == 1
    assert "OPENAI_API_KEY" in json.loads(done.stdout)["error"]


def test_graph(tmp_path: Path) -> None:
    done = orchestrator("graph", str(WORKFLOWS / "meeting-notes.yaml"))
    assert done.stdout == "decisions [llm]\ntodos [llm]\nmail [llm] <- decisions, todos\n"
    dot = orchestrator("graph", str(WORKFLOWS / "sentiment-analysis.yaml"), "--format", "dot")
    assert '"classify" -> "respond" [style=dashed];' in dot.stdout


def test_version() -> None:
    assert orchestrator("version").stdout.startswith("airflow-llm-provider ")


def test_help_names_every_command() -> None:
    done = orchestrator("--help")
    assert all(name in done.stdout for name in ("validate", "run", "graph", "simulator", "demo", "version"))


def test_validate_shows_the_edges_that_references_make(two_steps: Path, tmp_path: Path) -> None:
    assert "  b waits for a, whose outputs it uses" in orchestrator("validate", str(two_steps)).stdout
    (tmp_path / "empty").mkdir()
    done = orchestrator("validate", str(tmp_path / "empty"))
    assert (done.returncode, done.stdout) == (0, "no workflow file found; their names end in .yaml, .yml or .json\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"x": "\xe9"}', "is not UTF-8"),
        (b'{"x": ' + b"[" * 100_000, "is not JSON: it nests too deep"),
        (b'{"x": NaN}', "is not JSON: NaN is no JSON"),
    ],
)
@pytest.mark.parametrize("by_file", [True, False])
def test_inputs_that_cannot_be_read(
    two_steps: Path, tmp_path: Path, content: bytes, message: str, by_file: bool
) -> None:
    path = tmp_path / "x.input.json"
    path.write_bytes(content)
    command = [
        sys.executable,
        "-m",
        "airflow_llm_provider.cli",
        "run",
        str(two_steps),
        "--input",
        str(path) if by_file else "-",
    ]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("output", ["text", "json"])
def test_half_a_character_does_not_end_the_program(two_steps: Path, output: str) -> None:
    done = orchestrator("run", str(two_steps), "--input", '{"x": "\\ud800"}', "--output", output)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "ud800" in done.stdout


def test_a_configuration_that_is_no_mapping(two_steps: Path, tmp_path: Path) -> None:
    config = tmp_path / "orchestrator.yaml"
    config.write_text("- a\n")
    done = orchestrator("run", str(two_steps), "--config", str(config))
    assert (done.returncode, done.stderr) == (2, f"llm-orchestrator: {config}:1:1: the file must be a mapping\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without a name")
def test_a_user_without_a_name() -> None:
    program = "import os; from airflow_llm_provider.cli.run import user_name; os.setuid(54321); print(user_name())"
    environment = {
        name: value for name, value in os.environ.items() if name not in ("USER", "LOGNAME", "LNAME", "USERNAME")
    }
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("54321\n", "")


APPROVAL = """
name: asks
steps:
  - {id: gate, type: "orchestrator:approval", message: "Go on?", on_reject: continue}
  - {id: next, type: transform, function: template, template: "{{ steps.gate }}"}
outputs: {next: "{{ steps.next }}"}
"""


@pytest.mark.parametrize(
    "arguments", [["--approve"], ["--approve", "gate"], ["--approve", "other", "--approve", "gate"]]
)
def test_an_approval_given_beforehand(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "asks.yaml"
    path.write_text(APPROVAL)
    done = orchestrator("run", str(path), *arguments)
    assert (done.returncode, done.stdout) == (0, "next: true\n")


def test_an_approval_that_nobody_can_give(tmp_path: Path) -> None:
    path = tmp_path / "asks.yaml"
    path.write_text(APPROVAL)
    done = orchestrator("run", str(path), "--approve", "other", stdin="")
    assert done.returncode == 1
    assert "step 'gate' waits for a person; run it in Airflow, or here with --approve gate" in " ".join(
        done.stderr.split()
    )


@pytest.mark.parametrize(("typed", "shown"), [("y", "next: true"), ("n", "next: false")])
def test_an_approval_is_asked_for_at_a_terminal(tmp_path: Path, typed: str, shown: str) -> None:
    path = tmp_path / "asks.yaml"
    path.write_text(APPROVAL)
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_llm_provider.cli", "run", str(path)],
        stdin=writer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(reader, f"{typed}\n".encode())
    output, told = process.communicate(timeout=60)
    os.close(reader)
    os.close(writer)
    assert (process.returncode, output.strip()) == (0, shown), told
    assert "Go on?" in told


EVENT = """
apiVersion: orchestrator.llm/v1
kind: EventWorkflow
metadata: {{name: {name}}}
spec:
  trigger: {{eventSource: tickets, eventType: opened, filter: "{filter}"}}
  inputs: [{{name: text, type: string, required: true, source: event.data.text}}]
  tasks: [{{id: a, executor: "llm-forge:text-transform", inputs: {{prompt: "${{{{ inputs.text }}}}"}}}}]
"""


def test_an_event_starts_what_waits_for_it(tmp_path: Path) -> None:
    for name, condition in (("high", "event.data.level > 2"), ("low", "event.data.level <= 2")):
        (tmp_path / f"{name}.yaml").write_text(EVENT.format(name=name, filter=condition))
    send = ("event", "send", str(tmp_path), "--here", "--source", "tickets", "--id", "e1")
    done = orchestrator(*send, "--type", "opened", "--data", '{"level": 3, "text": "broken"}')
    assert (done.returncode, done.stdout, done.stderr) == (0, "high: completed (event__e1)\n", "")
    done = orchestrator(*send, "--type", "closed")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no workflow waits for this event; those that wait do for: tickets/opened\n"


def test_an_event_without_what_the_workflow_needs(tmp_path: Path) -> None:
    (tmp_path / "high.yaml").write_text(EVENT.format(name="high", filter="true"))
    done = orchestrator("event", "send", str(tmp_path), "--here", "--source", "tickets", "--type", "opened")
    assert done.returncode == 2
    assert "text: None is not of type 'string'" in done.stderr


def test_schema_goes_to_a_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "workflow.schema.json"
    assert orchestrator("schema", "--output", str(path)).returncode == 0
    printed = orchestrator("schema").stdout
    assert path.read_text("utf-8") == printed
    assert json.loads(printed)["title"] == "LLM workflow"
    assert [item.name for item in path.parent.iterdir()] == ["workflow.schema.json"]


def test_schema_that_cannot_be_written(tmp_path: Path) -> None:
    done = orchestrator("schema", "--output", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"llm-orchestrator: {tmp_path} cannot be written: Is a directory\n"


def test_convert_there_and_run(two_steps: Path, tmp_path: Path) -> None:
    written = tmp_path / "v1" / "two-steps.yaml"
    done = orchestrator("convert", str(two_steps), "--to", "v1", "--output", str(written))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "llm-orchestrator: note: comments, x-… keys, and the names and descriptions of single steps and outputs are not kept\n"
    )
    results = [
        json.loads(orchestrator("run", str(path), "--input", '{"x": "tea"}', "--output", "json").stdout)
        for path in (two_steps, written)
    ]
    assert [result["outputs"] for result in results] == [results[0]["outputs"]] * 2
    printed = orchestrator("convert", str(written), "--to", "steps")
    assert printed.stdout.startswith("name: two-steps\nsteps:\n  - id: a\n    type: llm\n")


def test_convert_names_what_it_cannot(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("name: w\nsteps: [{id: a b, type: action, action: log, message: m}]\n")
    written = tmp_path / "v1.yaml"
    done = orchestrator("convert", str(path), "--to", "v1", "--output", str(written))
    assert done.returncode == 2
    assert "step 'a b': in v1 an id has no other characters than letters, digits, '_' and '-'" in done.stderr
    assert not written.exists()
