"""The mode standalone: from the guide's own file, and from none."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPI
from tests.conftest import REPOSITORY, free_port
from tests.integration.deployment.conftest import System, is_healthy, run, until

GUIDE = REPOSITORY / "tests" / "unit" / "config" / "files" / "guide.yaml"

SCHEDULER = "airflow scheduler --skip-serve-logs"

WORKFLOW = """
name: two-steps
steps:
  - {id: ask, provider: openai, model: gpt-4o-mini, prompt: "What is next?"}
  - {id: show, type: transform, function: template, template: "{{ steps.ask.output }}", depends_on: [ask]}
outputs: {said: "{{ steps.show.output }}"}
"""


def certificate(folder: Path) -> tuple[str, str]:
    """Make a certificate as the guide says."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", key, "-out", cert, "-days", "2", "-nodes"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return str(cert), str(key)


def rotate(log: Path, system: System, folder: Path) -> None:
    """Rotate a log as the rendered file says, while it is written to."""
    units = folder / "units"
    rendered = system.command("config", "render", "systemd", "--config", str(system.config), "--output", str(units))
    assert rendered.returncode == 0, rendered.stderr
    program = shutil.which("logrotate", path="/usr/sbin:/usr/bin")
    if program is None:
        # What it does: a copy is kept, and the file emptied.
        shutil.copy(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
        return
    (units / "logrotate.conf").chmod(0o644)
    command = (program, "--force", "--state", str(folder / "state"), str(units / "logrotate.conf"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ready: " in log.with_suffix(".log.1").read_text()


@pytest.mark.shows(
    "server.mode", "server.host", "server.port.http", "server.tls.enabled", "server.tls.cert_file", "server.tls.key_file",
    "database.type", "database.url", "database.pool.max_connections", "database.pool.min_connections",
    "database.migrations.auto_run", "cache.type", "cache.url", "execution.executor.worker_threads",
    "execution.resources.cpu_limit", "execution.resources.memory_limit", "execution.resources.gpu_limit",
    "fault_tolerance.checkpoint.storage", "observability.logging.format", "observability.logging.output",
    "security.authentication.enabled", "execution.scheduler.max_parallel_workflows", "execution.scheduler.task_queue_size",
    "execution.scheduler.scheduling_interval", "observability.logging.level",
)  # fmt: skip
def test_the_guides_own_file(system: System, database: str, redis_url: str, s3_url: str, tmp_path: Path) -> None:
    system.config = tmp_path / "guide.yaml"
    system.config.write_text(GUIDE.read_text())
    port, task_port = free_port(), free_port()
    cert, key = certificate(tmp_path)
    system.variables = {
        **system.variables,
        # Local ones in place of those of the file.
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "TLS_CERT_FILE": cert,
        "TLS_KEY_FILE": key,
        "JWT_SECRET": "a secret that is long enough for it",
        "ORCHESTRATOR__SERVER__PORT__HTTP": str(port),
        "ORCHESTRATOR__SERVER__PORT__EXECUTION": str(task_port),
        "ORCHESTRATOR__HOME": str(tmp_path / "home"),
        "AWS_ENDPOINT_URL": s3_url,
    }
    checked = system.command("config", "check", str(system.config))
    assert checked.returncode == 0, checked.stderr
    dags = tmp_path / "home" / "dags"
    dags.mkdir(parents=True)
    (dags / "two-steps.yaml").write_text(WORKFLOW)

    system.serve("standalone", "server")
    url = f"https://localhost:{port}"
    until(lambda: "ready: https://" in system.said("server"), system, "ready")
    # The certificate is the file's.
    trusted = ssl.create_default_context(cafile=cert)
    assert httpx.get(f"{url}/api/v2/version", verify=trusted).status_code == 200
    assert is_healthy(url, "metadatabase", "scheduler", "triggerer", "dag_processor")
    # Its own address, and nobody without a password.
    assert httpx.get(f"{url}/api/v2/dags", verify=False).status_code == 401
    password = json.loads((tmp_path / "home" / "passwords.json").read_text())["admin"]
    with contextlib.closing(AirflowAPI(url, "admin", password, httpx.HTTPTransport(verify=False))) as api:
        finished = run(api, "two-steps", system)
        assert finished.state == "success"
        dag = api.request("GET", "/dags/two-steps/details")
        assert (dag["max_active_runs"], dag["max_active_tasks"]) == (100, 1000)
        assert api.request("GET", "/pools/default_pool")["slots"] == 1000
    # The scheduler, whose forks the tasks are, has the limits of the file.
    scheduler = system.find("server", SCHEDULER)
    limits = Path(f"/proc/{scheduler}/limits").read_text()
    assert any(line.startswith("Max address space") and str(16 * 1024**3) in line for line in limits.splitlines())
    assert len(os.sched_getaffinity(scheduler)) <= 8
    environment = dict(
        part.split("=", 1) for part in Path(f"/proc/{scheduler}/environ").read_text().split("\0") if part
    )
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "8"
    assert environment["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] == "1"
    pool = [environment[f"AIRFLOW__DATABASE__SQL_ALCHEMY_{name}"] for name in ("POOL_SIZE", "MAX_OVERFLOW")]
    assert pool == ["5", "15"]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM dag_run WHERE state = 'success'").fetchone() == (1,)
        told = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()").fetchone()
        assert told is not None
        assert 1 < told[0] <= 5 * 20
    # The model's answer was kept where the file says.
    import boto3

    listed = boto3.client("s3", endpoint_url=s3_url, aws_access_key_id="k", aws_secret_access_key="s").list_objects_v2(
        Bucket="checkpoints"
    )
    assert [item["Key"] for item in listed["Contents"] if "two-steps" in item["Key"]]
    lines = [line for line in system.said("server").splitlines() if line.startswith("{")]
    assert lines
    assert {json.loads(line)["level"] for line in lines} <= {"info", "warning", "error"}

    assert system.stop("server") == 0
    assert system.left() == []


@pytest.mark.shows(
    "security.authentication.enabled", "execution.resources.cpu_limit", "observability.logging.level",
    "observability.logging.output",
)  # fmt: skip
def test_without_a_file_it_starts_on_its_defaults(system: System, tmp_path: Path) -> None:
    system.config.write_text(
        f"home: {tmp_path}/home\nserver: {{port: {{http: {free_port()}, execution: {free_port()}}}}}\n"
    )
    system.serve("standalone", "server")
    until(lambda: "ready: " in system.said("server"), system, "ready")
    passwords = tmp_path / "home" / "passwords.json"
    assert f"the user is admin; the password is in {passwords}" in system.said("server")
    assert passwords.stat().st_mode & 0o777 == 0o600
    password = json.loads(passwords.read_text())["admin"]
    assert password not in system.said("server")
    [url] = {line.removeprefix("ready: ") for line in system.said("server").splitlines() if line.startswith("ready: ")}

    # What dies is started again.
    scheduler = system.find("server", SCHEDULER)
    os.kill(scheduler, signal.SIGKILL)
    until(
        lambda: "scheduler ended with signal SIGKILL; it starts again" in system.said("server"), system, "the restart"
    )
    (tmp_path / "home" / "dags" / "two-steps.yaml").write_text(WORKFLOW)
    with contextlib.closing(AirflowAPI(url, "admin", password)) as api:
        assert run(api, "two-steps", system).state == "success"
    # Airflow's own command line has the same database.
    listed = system.command(
        "airflow", "--config", str(system.config), "dags", "list-runs", "two-steps", "--output", "json"
    )
    assert [item["state"] for item in json.loads(listed.stdout.splitlines()[-1])] == ["success"], listed.stderr
    # A backup is made while it runs.
    kept = tmp_path / "backup.tar.gz"
    made = system.command("backup", str(kept), "--config", str(system.config))
    assert made.returncode == 0, made.stderr
    assert kept.stat().st_mode & 0o777 == 0o600
    assert httpx.get(f"{url}/auth/token").status_code == 403
    assert system.stop("server") == 0
    assert system.left() == []

    # It is brought back on an empty machine, which goes on where this one was.
    refused = system.command("restore", str(kept), "--config", str(system.config))
    assert refused.returncode == 2
    assert "there is a system in" in refused.stderr
    system.config.write_text(system.config.read_text().replace(f"{tmp_path}/home", f"{tmp_path}/other"))
    back = system.command("restore", str(kept), "--config", str(system.config))
    assert back.returncode == 0, back.stderr
    (tmp_path / "home").rename(tmp_path / "gone")
    log = tmp_path / "logs" / "all.log"
    log.parent.mkdir()
    # And it is told a few things that differ from the defaults.
    told = f"""
observability: {{logging: {{output: {log}, level: debug}}}}
security: {{authentication: {{enabled: false}}}}
execution: {{resources: {{cpu_limit: 500m}}}}
"""
    system.config.write_text(system.config.read_text() + told)
    assert system.command("db", "check", "--config", str(system.config)).returncode == 0
    system.serve("standalone", "again")
    until(lambda: log.exists() and "ready: " in log.read_text(), system, "ready")
    assert "the password is in" not in log.read_text()
    assert re.search(r"\bdebug\b", log.read_text())
    assert len(os.sched_getaffinity(system.find("again", SCHEDULER))) == 1
    # Whoever reaches it is let in.
    assert httpx.get(f"{url}/auth/token").status_code == 201
    with contextlib.closing(AirflowAPI(url, "admin", password)) as api:
        assert run(api, "two-steps", system).state == "success"
        assert len(api.request("GET", "/dags/two-steps/dagRuns")["dag_runs"]) == 2
        rotate(log, system, tmp_path)
        assert run(api, "two-steps", system).state == "success"
    # What was written since is at the beginning of the file, and not after a hole.
    assert "two-steps" in log.read_text()
    assert "\0" not in log.read_text()
    assert "ready: " not in log.read_text()
    assert system.stop("again") == 0
    assert system.left() == []
