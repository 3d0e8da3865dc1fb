"""The units, as systemd itself judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source, render
from tests.conftest import REPOSITORY

CONFIGURATION = Configuration.model_validate(
    {
        "home": "/var/lib/llm-orchestrator",
        "execution": {"resources": {"cpu_limit": 8, "memory_limit": "16Gi", "gpu_limit": 0}},
        "observability": {"logging": {"output": "/var/log/llm-orchestrator/server.log"}},
    }
)

GUIDE = """
[Unit]
Description=LLM Orchestrator
After=network.target

[Service]
Type=simple
User=root
ExecStart=/bin/true
Restart=always
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=strict
ProtectHome=true
ReadWritePaths=/var/lib/llm-orchestrator

[Install]
WantedBy=multi-user.target
"""
"""The deployment guide's unit."""


@pytest.fixture
def analyze() -> str:
    """Give systemd's own judge."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed, and nothing else judges units")
    return found


def units(tmp_path: Path, configuration: Configuration = CONFIGURATION) -> list[Path]:
    """Write the units with a program, a user and a folder that are on every machine."""
    made = []
    for name, text in render("systemd", Source(configuration)).items():
        if name.endswith(".service"):
            here = re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE)
            here = re.sub(r"/opt/llm-orchestrator/bin/llm-orchestrator \S.*", "/bin/true", here)
            path = tmp_path / name.replace("@.", "@worker.")
            path.write_text(here)
            made.append(path)
    return made


def test_systemd_finds_nothing_wrong(tmp_path: Path, analyze: str) -> None:
    for unit in units(tmp_path):
        done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
        # Unknown keys are only warnings, on the error stream.
        told = [line for line in done.stderr.splitlines() if unit.name in line]
        assert (done.returncode, told) == (0, []), done.stderr


def exposure(analyze: str, unit: Path) -> float:
    """Give how exposed systemd finds it, 0 to 10."""
    command = [analyze, "security", "--offline=yes", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    match = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    assert match, said
    return float(match[1])


def test_it_is_less_exposed_than_the_guides(tmp_path: Path, analyze: str) -> None:
    guide = tmp_path / "guide.service"
    guide.write_text(GUIDE)
    for unit in units(tmp_path):
        assert exposure(analyze, unit) < 3 < exposure(analyze, guide)


@pytest.mark.shows("execution.resources.cpu_limit", "execution.resources.memory_limit")
def test_limits_are_those_of_the_file() -> None:
    unit = render("systemd", Source(CONFIGURATION))["llm-orchestrator.service"]
    for line in ("CPUQuota=800%", "MemoryMax=17179869184", "PrivateDevices=true"):
        assert f"\n{line}\n" in unit
    assert "ReadWritePaths=/var/lib/llm-orchestrator /var/lib/llm-orchestrator/dags /var/log/llm-orchestrator\n" in unit
    plain = render("systemd", Source(Configuration.model_validate({"home": "/h"})))["llm-orchestrator@.service"]
    assert not re.search("CPUQuota|MemoryMax|PrivateDevices", plain)
    assert "server --mode %i --config" in plain


ELSEWHERE = {
    "home": "/srv/my home",
    "workflows": {"folder": "/srv/100%/dags"},
    "database": {"url": "sqlite:////srv/data/meta.db"},
    "fault_tolerance": {"checkpoint": {"storage": "/srv/checkpoints"}},
    "storage": {"results": "file:///srv/results"},
    "observability": {"logging": {"output": "server.log", "tasks": "s3://bucket/logs"}},
}


def test_it_may_write_where_the_file_has_it_write(tmp_path: Path, analyze: str) -> None:
    configuration = Configuration.model_validate(ELSEWHERE)
    made = render("systemd", Source(configuration))
    unit = made["llm-orchestrator.service"]
    for line in (
        "WorkingDirectory=/srv/my home",
        'Environment="HOME=/srv/my home" "AIRFLOW_HOME=/srv/my home"',
        'ReadWritePaths="/srv/my home" /srv/100%%/dags /srv/data /srv/checkpoints /srv/results',
    ):
        assert f"\n{line}\n" in unit
    assert '\ne "/srv/my home/logs/tasks" - - - 30d\n' in made["tmpfiles.conf"]
    assert '\n"/srv/my home/server.log" {\n' in made["logrotate.conf"]
    for path in units(tmp_path, configuration):
        done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in done.stderr.splitlines() if path.name in line] == []


def test_it_has_as_long_to_end_as_elsewhere() -> None:
    made = render("systemd", Source(CONFIGURATION))
    compose = (REPOSITORY / "docker" / "distributed" / "docker-compose.yaml").read_text()
    longest = max(int(seconds) for seconds in re.findall(r"stop_grace_period: (\d+)s", compose))
    assert f"\nTimeoutStopSec={longest}\n" in made["llm-orchestrator@.service"]
    single = (REPOSITORY / "docker" / "single-node" / "docker-compose.yaml").read_text()
    longest = max(int(seconds) for seconds in re.findall(r"stop_grace_period: (\d+)s", single))
    assert f"\nTimeoutStopSec={longest}\n" in made["llm-orchestrator.service"]


def test_logrotate_takes_the_rotation(tmp_path: Path) -> None:
    program = shutil.which("logrotate", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        pytest.skip("logrotate is not installed")
    path = tmp_path / "logrotate.conf"
    path.write_text(render("systemd", Source(CONFIGURATION))["logrotate.conf"])
    path.chmod(0o644)
    done = subprocess.run(
        [program, "-d", "-s", str(tmp_path / "s"), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "error:" not in done.stderr


@pytest.mark.parametrize(("age", "left"), [("30d", ["attempt=1.log"]), ("0", [])])
def test_old_logs_of_tasks_go(tmp_path: Path, age: str, left: list[str]) -> None:
    program = shutil.which("systemd-tmpfiles")
    if program is None:
        pytest.skip("systemd-tmpfiles is not installed")
    here = tmp_path / "with space"
    rendered = render("systemd", Source(Configuration.model_validate({"home": str(here)})))["tmpfiles.conf"]
    # Nobody can set the time of a change back, so that this file is new whatever is done to it.
    (tmp_path / "ages.conf").write_text(rendered.replace("30d", age))
    task = here / "logs" / "tasks" / "dag_id=x" / "run_id=y" / "task_id=z"
    task.mkdir(parents=True)
    (task / "attempt=1.log").write_text("said")
    done = subprocess.run([program, "--clean", str(tmp_path / "ages.conf")], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert [path.name for path in here.rglob("*.log")] == left
