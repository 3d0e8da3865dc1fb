"""The units, as systemd itself judges them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source, render

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


def units(tmp_path: Path) -> list[Path]:
    """Write the units with a program, a user and a folder that are on every machine."""
    made = []
    for name, text in render("systemd", Source(CONFIGURATION)).items():
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


def test_old_logs_of_tasks_go(tmp_path: Path) -> None:
    program = shutil.which("systemd-tmpfiles")
    if program is None:
        pytest.skip("systemd-tmpfiles is not installed")
    here = Configuration.model_validate({"home": str(tmp_path)})
    (tmp_path / "ages.conf").write_text(render("systemd", Source(here))["tmpfiles.conf"])
    task = tmp_path / "logs" / "tasks" / "dag_id=x" / "run_id=y" / "task_id=z"
    task.mkdir(parents=True)
    for name, days in {"attempt=1.log": 40, "attempt=2.log": 20}.items():
        (task / name).write_text("said")
        then = time.time() - days * 24 * 3600
        os.utime(task / name, (then, then))
    subprocess.run([program, "--clean", str(tmp_path / "ages.conf")], check=True, capture_output=True)
    assert [path.name for path in task.iterdir()] == ["attempt=2.log"]
