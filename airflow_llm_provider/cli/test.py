"""``llm-orchestrator test``: run the cases that stand beside workflows, with answers that are written down."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_FAILED, EXIT_OK
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_llm_provider.cli.cases import Outcome

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("test", help="run the test cases beside workflows (*.test.yaml)")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="test file, or folder of them")
    parser.add_argument("-k", metavar="TEXT", dest="pattern", default="", help="only cases whose name holds this text")
    parser.add_argument(
        "--output", choices=("text", "json", "junit"), default="text", help="what to write (default %(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import asyncio
    import time

    from airflow_llm_provider.cli.cases import Outcome, read_cases, run_case
    from airflow_llm_provider.cli.files import report

    outcomes: list[Outcome] = []
    bad = False
    for path in (found for given in arguments.paths for found in _files(given)):
        file, workflow, errors = read_cases(path)
        if file is None or workflow is None:
            report(errors)
            bad = True
            continue
        for case in file.cases:
            if arguments.pattern in case.name:
                started = time.perf_counter()
                misfits = asyncio.run(run_case(workflow, case, path.parent))
                outcomes.append(Outcome(path, case.name, tuple(misfits), time.perf_counter() - started))
                if arguments.output == "text":
                    _tell(outcomes[-1])
    failed = sum(bool(outcome.misfits) for outcome in outcomes)
    if arguments.output == "text":
        print(f"{len(outcomes) - failed} passed, {failed} failed")
    else:
        print(_json(outcomes) if arguments.output == "json" else _junit(outcomes))
    return EXIT_BAD_FILE if bad else EXIT_FAILED if failed else EXIT_OK


def _files(given: str) -> Iterator[Path]:
    path = Path(given)
    if path.is_dir():
        yield from sorted([*path.rglob("*.test.yaml"), *path.rglob("*.test.yml")])
    elif path.is_file() and path.name.endswith((".test.yaml", ".test.yml")):
        yield path
    elif path.is_file():
        raise ConfigurationError(f"{given} is no test file; their names end in .test.yaml")
    else:
        raise ConfigurationError(f"there is no file or folder {given!r}")


def _tell(outcome: Outcome) -> None:
    print(f"{'FAILED' if outcome.misfits else 'passed'} {outcome.file}: {outcome.name} ({outcome.seconds:.2f} s)")
    for misfit in outcome.misfits:
        print(f"    {misfit}")


def _json(outcomes: Sequence[Outcome]) -> str:
    import json

    told = [
        {
            "file": str(outcome.file),
            "case": outcome.name,
            "passed": not outcome.misfits,
            "misfits": list(outcome.misfits),
            "seconds": round(outcome.seconds, 3),
        }
        for outcome in outcomes
    ]
    return json.dumps(told, indent=2, ensure_ascii=False)


def _junit(outcomes: Sequence[Outcome]) -> str:
    from xml.etree.ElementTree import Element, SubElement, tostring

    failed = sum(bool(outcome.misfits) for outcome in outcomes)
    suite = Element("testsuite", name="llm-orchestrator", tests=str(len(outcomes)), failures=str(failed))
    for outcome in outcomes:
        place = {"classname": str(outcome.file), "name": outcome.name, "time": f"{outcome.seconds:.3f}"}
        case = SubElement(suite, "testcase", place)
        if outcome.misfits:
            SubElement(case, "failure", message=outcome.misfits[0]).text = "\n".join(outcome.misfits)
    return tostring(suite, encoding="unicode")
