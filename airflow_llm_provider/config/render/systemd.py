"""Units of systemd: ``llm-orchestrator.service`` for one machine, ``llm-orchestrator@MODE.service`` for each of several."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source

__all__ = ["files"]

_UNIT = """\
# Made from orchestrator.yaml: llm-orchestrator config render systemd

[Unit]
Description=LLM Orchestrator on Apache Airflow{of_mode}
Documentation=https://airflow.apache.org/docs/
After=network-online.target
Wants=network-online.target
# Five starts that fail within a minute are looked at by somebody.
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=exec
User=orchestrator
Group=orchestrator
WorkingDirectory={folder}
Environment={variables}
# Secrets, such as DATABASE_URL and OPENAI_API_KEY; readable by root only.
EnvironmentFile=-/etc/llm-orchestrator/environment
ExecStart=/opt/llm-orchestrator/bin/llm-orchestrator server{mode} --config /etc/llm-orchestrator/config.yaml
Restart=always
RestartSec=10
# The supervisor asks each component to end, and what it leaves is killed.
KillMode=mixed
TimeoutStopSec={stop}
StandardOutput=journal
StandardError=journal
{limits}
# What it may touch
ReadWritePaths={writable}
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
{devices}UMask=0077

# What it may do
NoNewPrivileges=true
CapabilityBoundingSet=
AmbientCapabilities=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
LockPersonality=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
RemoveIPC=true
KeyringMode=private

# What it may see and change of the machine
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible

[Install]
WantedBy=multi-user.target
"""

_ROTATION = """\
# Made from orchestrator.yaml: llm-orchestrator config render systemd; goes to /etc/logrotate.d/llm-orchestrator
# What components write to {output}; logs of tasks are kept as tmpfiles.conf says.

"{output}" {{
    daily
    rotate 14
    compress
    delaycompress
    missingok
    notifempty
    # The file stays open: it is emptied, and what is written goes on at its beginning.
    copytruncate
}}
"""

_AGES = """\
# Made from orchestrator.yaml: llm-orchestrator config render systemd; goes to /etc/tmpfiles.d/llm-orchestrator.conf
# Logs of tasks, and of the reading of workflows, are kept for a month after they were last written or read.
{lines}"""


_STREAMS = ("stdout", "stderr")

_STOP = 600
"""Seconds that a component has to end what it does; as in the compose files and on Kubernetes."""

_STOP_ALL = 90
"""Of a whole system on one machine, as in its compose file."""


def files(source: Source) -> dict[str, str]:
    """Give the units, and what becomes of old logs."""
    configuration = source.configuration
    output = configuration.observability.logging.output
    # Otherwise it is in the journal, which sees to that itself.
    rotated = {} if output in _STREAMS else {"logrotate.conf": _ROTATION.format(output=configuration.home / output)}
    # An age that looks at the time of writing alone needs systemd 250; Ubuntu 22.04 has 249, and RHEL 8 has 239.
    logs = [configuration.home / "logs" / name for name in ("tasks", "dag_processor")]
    return {
        "llm-orchestrator.service": _unit(configuration),
        "llm-orchestrator@.service": _unit(configuration, template=True),
        "tmpfiles.conf": _AGES.format(lines="".join(f"e {_word(str(path))} - - - 30d\n" for path in logs)),
        **rotated,
    }


def _unit(configuration: Configuration, *, template: bool = False) -> str:
    resources, home = configuration.execution.resources, str(configuration.home)
    limits = []
    if resources.cpu_limit is not None:
        limits.append(f"CPUQuota={math.ceil(resources.cpu_limit * 100)}%")
    if resources.memory_limit is not None:
        limits.append(f"MemoryMax={resources.memory_limit}")
    # A GPU is a device.
    devices = "PrivateDevices=true\n" if resources.gpu_limit == 0 else ""
    return _UNIT.format(
        of_mode=", %i" if template else "",
        mode=" --mode %i" if template else "",
        folder=home.replace("%", "%%"),
        # A file that names no home means AIRFLOW_HOME.
        variables=" ".join(_word(f"{name}={home}") for name in ("HOME", "AIRFLOW_HOME")),
        stop=_STOP if template else _STOP_ALL,
        limits="".join(f"{line}\n" for line in limits),
        writable=" ".join(dict.fromkeys(_word(str(path)) for path in _writable(configuration))),
        devices=devices,
    )


def _writable(configuration: Configuration) -> Iterator[Path]:
    """Give the folders that the file has something written to; what is relative is so to the home."""
    home, logging = configuration.home, configuration.observability.logging
    yield home
    yield configuration.dags_folder
    if configuration.sqlite_file is not None:
        yield (home / configuration.sqlite_file).parent
    for folder in (configuration.fault_tolerance.checkpoint.storage, configuration.storage.results, logging.tasks):
        path = (folder or "").removeprefix("file://")
        if path and "://" not in path:
            yield home / path
    if logging.output not in _STREAMS:
        yield (home / logging.output).parent


def _word(text: str) -> str:
    """Write a text as one word of a line that systemd reads."""
    escaped = re.sub(r'(["\\\\])', r"\\\1", text).replace("%", "%%")
    return f'"{escaped}"' if re.search(r"""[\s"'\\]""", text) else escaped
