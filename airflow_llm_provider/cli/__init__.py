"""``llm-orchestrator``: checks and runs workflow files, with no Airflow needed, and looks after an Airflow that runs them.

Each command is a module of this package with ``add_parser``; what a command needs is imported when it runs, so that starting one
costs only what it uses.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from airflow_llm_provider.errors import LLMProviderError

__all__ = ["EXIT_BAD_FILE", "EXIT_FAILED", "EXIT_OK", "main"]

EXIT_OK = 0
EXIT_FAILED = 1
"""The run failed, a check found something wrong, or what was asked for is not at work."""
EXIT_BAD_FILE = 2
"""A file, an input or an option cannot be used."""

_COMMANDS = (
    "validate", "run", "test", "graph", "new", "convert", "schema", "event", "costs", "config", "db", "server", "airflow",
    "health", "doctor", "backup", "restore", "simulator", "demo", "version",
)  # fmt: skip

_MODULES = {"restore": "backup"}
"""Commands that are in another's module."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments without the program's name; those of the process when None.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="llm-orchestrator", description="LLM workflows as YAML, on Apache Airflow or right here."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Only the command that was asked for is imported; the help needs them all.
    wanted = [given[0]] if given and given[0] in _COMMANDS else _COMMANDS
    for name in dict.fromkeys(_MODULES.get(name, name) for name in wanted):
        importlib.import_module(f"{__name__}.{name}").add_parser(commands)
    arguments = parser.parse_args(given)
    for stream in (sys.stdout, sys.stderr):
        # A lone half of a character, as a model may answer, is shown and does not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code: int = arguments.run(arguments)
    except LLMProviderError as error:
        print(f"llm-orchestrator: {error}", file=sys.stderr)
        return EXIT_BAD_FILE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
        return EXIT_OK
    return code
