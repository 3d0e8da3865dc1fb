"""``llm-orchestrator server``: the Airflow components of one mode, in the foreground, with the settings of orchestrator.yaml.

A mode that is one component becomes that component, so that whoever started it has Airflow's own process. The modes
``standalone`` and ``api`` are several; a supervisor keeps them alive, and ends with them.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import socket
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK
from airflow_llm_provider.cli.files import write_atomically
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["add_parser"]

_LOADERS = ("load_workflows.py", "workflow_errors.py")

_MODE = "ORCHESTRATOR__SERVER__MODE"
"""The variable that names the mode, whatever the file and other variables say."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option
    from airflow_llm_provider.config.server import MODES

    parser = commands.add_parser(
        "server",
        help="run Airflow as orchestrator.yaml says",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs the Airflow components of a mode in the foreground, until SIGTERM or Ctrl-C.\n\nModes:\n"
        + "\n".join(f"  {mode:<14} {text}" for mode, text in MODES.items()),
    )
    parser.add_argument("--mode", choices=MODES, metavar="MODE", help="see above; else server.mode of the file")
    add_config_option(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.components import components
    from airflow_llm_provider.cli.config import config_file, read_or_report
    from airflow_llm_provider.cli.home import Home
    from airflow_llm_provider.cli.supervision import Plan, alone
    from airflow_llm_provider.cli.supervisor import supervise

    path = config_file(arguments.config)
    variables = dict(os.environ)
    if arguments.mode:
        variables[_MODE] = arguments.mode
    configuration = read_or_report(path, variables).configuration
    if configuration is None:
        return EXIT_BAD_FILE
    Home(configuration.home).make()
    parts = components(configuration)
    if len(parts) == 1 and parts[0].grace is None:
        _prepare(configuration, path)
        # It ends by itself when it is asked to.
        os.execv(parts[0].command[0], parts[0].command)
    server = configuration.server
    ready = f"ready: {server.base_url or server.address(server.port.http)}" if len(parts) > 1 else "ready"
    # Servers of several modes may share a home.
    home = configuration.home
    folder = home if server.mode == "standalone" else home / "supervised" / server.mode
    # What another server works with is left alone.
    with alone(folder):
        _prepare(configuration, path)
        supervise(Plan(parts, folder, keeps_logs=False), on_ready=lambda: _say(ready))
    return EXIT_OK


def _prepare(configuration: Configuration, path: Path | None) -> None:
    """Make all that the components need, and give this process their environment and limits."""
    from airflow_llm_provider.cli.components import component_environment
    from airflow_llm_provider.cli.home import Home
    from airflow_llm_provider.cli.started import Started

    mode, home = configuration.server.mode, Home(configuration.home)
    _check_readable(configuration)
    _check_ports(configuration)
    # Without the keys that are made here: a doctor compares it with what the file says.
    started = Started.of(configuration)
    configuration = home.prepare(configuration)
    environment = {**component_environment(configuration, path), _MODE: mode}
    if mode != "edge-worker" and (mode != "worker" or configuration.keeps_results_in_database):
        _prepare_database(configuration, environment)
    if mode not in ("api", "triggerer"):
        _prepare_dags(configuration.dags_folder)
    if mode in ("standalone", "api") and configuration.security.authentication.enabled:
        _say(home.login)
    started.write(configuration.home)
    _limit(configuration)
    _redirect(configuration.observability.logging.output)
    os.environ.clear()
    os.environ.update(environment)


def _prepare_database(configuration: Configuration, environment: dict[str, str]) -> None:
    from airflow_llm_provider.cli.database import migrate, trouble

    if configuration.database.migrations.auto_run:
        _say("bringing the database up to date")
        migrate(environment)
    elif wrong := trouble(environment):
        raise ConfigurationError(f"database.migrations.auto_run is false, and the database {wrong}")


def _prepare_dags(folder: Path) -> None:
    """Put the two files that read workflows into the dags folder, unless they are there."""
    loaders = files("dag_factory") / "loaders"
    missing = [name for name in _LOADERS if not (folder / name).exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in missing:
            write_atomically(folder / name, (loaders / name).read_text(encoding="utf-8"))
    except (OSError, ConfigurationError) as error:
        raise ConfigurationError(
            f"the dags folder {folder} lacks {' and '.join(missing)}, and cannot be written ({error}); "
            f"copy them there from {loaders}"
        ) from None


def _check_readable(configuration: Configuration) -> None:
    tls = configuration.server.tls
    if configuration.server.mode not in ("standalone", "api") or not tls.enabled:
        return
    for path in (tls.cert_file, tls.key_file):
        if path is None or not os.access(path, os.R_OK):
            raise ConfigurationError(f"{path} cannot be read, but server.tls is enabled; name the right file")


def _check_ports(configuration: Configuration) -> None:
    from airflow_llm_provider.cli.components import listeners

    for key, (host, port) in listeners(configuration).items():
        try:
            [(family, kind, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            with socket.socket(family, kind) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
        except OSError as error:
            raise ConfigurationError(
                f"nothing can listen on port {port} of {host} ({error.strerror}): "
                f"end the program that has it, or write another {key}"
            ) from None


def _limit(configuration: Configuration) -> None:
    """Keep this process, and all that it starts, to ``execution.resources``."""
    limits = configuration.execution.resources
    if limits.cpu_limit is not None and sys.platform == "linux":
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[: math.ceil(limits.cpu_limit)])
    if limits.memory_limit is not None:
        _, hardest = resource.getrlimit(resource.RLIMIT_AS)
        most = limits.memory_limit if hardest == resource.RLIM_INFINITY else min(limits.memory_limit, hardest)
        resource.setrlimit(resource.RLIMIT_AS, (most, hardest))


def _redirect(output: str) -> None:
    """Let what this process and its children write go where the logs go."""
    if output == "stdout":
        os.dup2(1, 2)
    elif output == "stderr":
        os.dup2(2, 1)
    else:
        path = Path(output)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Appending, so that a rotation that empties the file loses nothing.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written ({error.strerror}); write another observability.logging.output"
            ) from None
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
