"""Units of systemd: ``llm-orchestrator.service`` for one machine, ``llm-orchestrator@MODE.service`` for each of several."""

from __future__ import annotations

import math

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
WorkingDirectory={home}
Environment=HOME={home}
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

{output} {{
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
# Logs of tasks, and of the reading of workflows, are kept for a month.
e {home}/logs/tasks - - - m:30d
e {home}/logs/dag_processor - - - m:30d
"""


def files(source: Source) -> dict[str, str]:
    """Give the units, and what becomes of old logs."""
    configuration = source.configuration
    output = configuration.observability.logging.output
    # Otherwise it is in the journal, which sees to that itself.
    rotated = {} if output in ("stdout", "stderr") else {"logrotate.conf": _ROTATION.format(output=output)}
    return {
        "llm-orchestrator.service": _unit(configuration),
        "llm-orchestrator@.service": _unit(configuration, template=True),
        "tmpfiles.conf": _AGES.format(home=configuration.home),
        **rotated,
    }


def _unit(configuration: Configuration, *, template: bool = False) -> str:
    resources, home = configuration.execution.resources, configuration.home
    limits = []
    if resources.cpu_limit is not None:
        limits.append(f"CPUQuota={math.ceil(resources.cpu_limit * 100)}%")
    if resources.memory_limit is not None:
        limits.append(f"MemoryMax={resources.memory_limit}")
    writable = dict.fromkeys(
        str(path) for path in (home, configuration.dags_folder, _log_folder(configuration)) if path
    )
    # A GPU is a device.
    devices = "PrivateDevices=true\n" if resources.gpu_limit == 0 else ""
    return _UNIT.format(
        of_mode=", %i" if template else "",
        mode=" --mode %i" if template else "",
        home=home,
        stop=180 if template else 90,
        limits="".join(f"{line}\n" for line in limits),
        writable=" ".join(writable),
        devices=devices,
    )


def _log_folder(configuration: Configuration) -> str | None:
    output = configuration.observability.logging.output
    return None if output in ("stdout", "stderr") else output.rpartition("/")[0] or None
