"""``llm-orchestrator server``: the Airflow components of one mode, in the foreground, with the settings of orchestrator.yaml.

A mode that is one component becomes that component, so that whoever started it has Airflow's own process. The modes
``standalone`` and ``api`` are several; a supervisor keeps them alive, and ends with them.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["add_parser"]

_LOADERS = ("load_workflows.py", "workflow_errors.py")


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
    from airflow_llm_provider.cli.components import component_environment, components
    from airflow_llm_provider.cli.config import config_file, read_or_report
    from airflow_llm_provider.cli.home import USER, Home
    from airflow_llm_provider.cli.started import Started, digests
    from airflow_llm_provider.cli.supervision import Plan, alone
    from airflow_llm_provider.cli.supervisor import supervise

    path = config_file(arguments.config)
    variables = dict(os.environ)
    if arguments.mode:
        variables["ORCHESTRATOR_MODE"] = arguments.mode
    configuration = read_or_report(path, variables).configuration
    if configuration is None:
        return EXIT_BAD_FILE
    home = Home(configuration.home)
    first = not home.passwords_file.exists()
    # Without the keys that are made here: a doctor compares it with what the file says.
    settings = digests(configuration)
    configuration = home.prepare(configuration)
    mode = configuration.server.mode
    environment = component_environment(configuration, path)
    environment["ORCHESTRATOR_MODE"] = mode
    _check_readable(configuration)
    if mode != "edge-worker":
        _prepare_database(configuration, environment)
    if mode not in ("api", "triggerer"):
        _prepare_dags(configuration.dags_folder)
    if first and mode in ("standalone", "api"):
        _say(f"the user is {USER}; the password is in {home.passwords_file}")
    Started(mode, settings).write(configuration.home)
    _limit(configuration)
    _redirect(configuration.observability.logging.output)
    os.environ.clear()
    os.environ.update(environment)
    parts = components(configuration)
    if len(parts) == 1 and parts[0].grace is None:
        # It ends by itself when it is asked to.
        os.execv(parts[0].command[0], parts[0].command)
    server = configuration.server
    ready = f"ready: {server.base_url or server.address(server.port.http)}" if len(parts) > 1 else "ready"
    # Servers of several modes may share a home.
    folder = home.path if mode == "standalone" else home.path / "supervised" / mode
    with alone(folder):
        supervise(Plan(parts, folder, keeps_logs=False), on_ready=lambda: _say(ready))
    return EXIT_OK


def _prepare_database(configuration: Configuration, environment: dict[str, str]) -> None:
    from airflow_llm_provider.cli.database import is_up_to_date, migrate

    if configuration.database.migrations.auto_run:
        _say("bringing the database up to date")
        migrate(environment)
    elif not is_up_to_date(environment):
        raise ConfigurationError(
            "the database cannot be reached, or is not up to date, and database.migrations.auto_run is false; "
            "run: llm-orchestrator db migrate"
        )


def _prepare_dags(folder: Path) -> None:
    """Put the two files that read workflows into the dags folder, unless they are there."""
    missing = [name for name in _LOADERS if not (folder / name).exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in missing:
            (folder / name).write_text((files("dag_factory") / "loaders" / name).read_text(), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the dags folder {folder} lacks {' and '.join(missing)}, and cannot be written ({error.strerror}); "
            "copy them there from the folder dags of this package"
        ) from None


def _check_readable(configuration: Configuration) -> None:
    tls = configuration.server.tls
    if configuration.server.mode not in ("standalone", "api") or not tls.enabled:
        return
    for path in (tls.cert_file, tls.key_file):
        if path is None or not os.access(path, os.R_OK):
            raise ConfigurationError(f"{path} cannot be read, but server.tls is enabled; name the right file")


def _limit(configuration: Configuration) -> None:
    """Keep this process, and all that it starts, to ``execution.resources``."""
    limits = configuration.execution.resources
    if limits.cpu_limit is not None and hasattr(os, "sched_setaffinity"):
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
        path.parent.mkdir(parents=True, exist_ok=True)
        # Appending, so that a rotation that empties the file loses nothing.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
