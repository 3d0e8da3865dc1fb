"""``llm-orchestrator doctor``: is everything there that a system needs, from this machine, and what to do where it is not.

It changes nothing but one small object in each object storage, which tells whether it can be written.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from airflow_llm_provider.cli.finding import Finding
    from airflow_llm_provider.config.configuration import Configuration

__all__ = ["add_parser"]

_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.cli.config import add_config_option

    parser = commands.add_parser("doctor", help="look for what keeps a system from working, and say what to do")
    add_config_option(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default %(default)s")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.config import config_file, read_or_report

    configuration = read_or_report(config_file(arguments.config)).configuration
    if configuration is None:
        return EXIT_BAD_FILE
    found: list[Finding] = []
    for finding in _findings(configuration):
        found.append(finding)
        if arguments.output == "text":
            _show(finding)
    if arguments.output == "json":
        print(json.dumps([asdict(finding) for finding in found], indent=2, ensure_ascii=False))
    return EXIT_FAILED if any(finding.verdict == "error" for finding in found) else EXIT_OK


def _findings(configuration: Configuration) -> Iterator[Finding]:
    """Make all looks that fit the mode; an error of one hides no other."""
    from airflow_llm_provider.cli.finding import look
    from airflow_llm_provider.cli.looks import looks
    from airflow_llm_provider.cli.started import Started
    from airflow_llm_provider.config.secrets import secrets_of

    secrets = [part for secret in secrets_of(configuration) for part in (secret, urlsplit(secret).password) if part]
    # The mode may have been named on the command line of the server.
    started = Started.read(configuration.home)
    for what, key, ask in looks(started.applied(configuration) if started else configuration, started):
        yield from look(what, key, ask, secrets)


def _show(finding: Finding) -> None:
    print(f"{_MARKS[finding.verdict]} {finding.what}: {finding.message}", flush=True)
    if finding.fix:
        print(f"    → {finding.fix}", flush=True)
