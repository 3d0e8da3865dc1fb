"""``llm-orchestrator config``: is orchestrator.yaml right, what does it say, what becomes of it, and what does a key mean."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_llm_provider.cli import EXIT_BAD_FILE, EXIT_OK
from airflow_llm_provider.config.addresses import SECRET_SHOWN, shown_address
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.configuration import Configuration
    from airflow_llm_provider.config.describe import Key
    from airflow_llm_provider.config.reading import Reading

__all__ = ["add_config_option", "add_parser", "config_file", "read_or_report"]


def add_parser(commands: Any) -> None:
    """Add the command."""
    from airflow_llm_provider.config.render import TARGETS

    parser = commands.add_parser("config", help="check and explain orchestrator.yaml, and show what becomes of it")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    check = actions.add_parser("check", help="tell everything that is wrong with it")
    _file(check)
    check.add_argument("--strict", action="store_true", help="treat warnings as errors")
    check.add_argument(
        "--format", choices=("text", "json", "github", "sarif"), default="text", help="default %(default)s"
    )
    check.set_defaults(run=_check)

    show = actions.add_parser("show", help="show what holds, without secrets, and where each value came from")
    _file(show)
    show.add_argument("--all", action="store_true", help="also what nobody has set")
    show.set_defaults(run=_show)

    env = actions.add_parser("env", help="show the Airflow settings it becomes, each with its reason")
    _file(env)
    env.add_argument("--with-secrets", action="store_true", help="show secrets, for a file that a deployment reads")
    env.set_defaults(run=_env)

    explain = actions.add_parser("explain", help="tell what a key does")
    explain.add_argument("key", metavar="KEY", help="such as execution.executor.worker_threads, or a section")
    add_config_option(explain)
    explain.set_defaults(run=_explain)

    schema = actions.add_parser("schema", help="write the JSON Schema of orchestrator.yaml")
    schema.add_argument("--output", metavar="FILE", help="file to write (default: standard output)")
    schema.set_defaults(run=_schema)

    render = actions.add_parser(
        "render",
        help="write the files of a deployment",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Targets:\n" + "\n".join(f"  {name:<10} {text}" for name, text in TARGETS.items()),
    )
    render.add_argument("target", choices=TARGETS, metavar="TARGET", help="see above")
    add_config_option(render)
    render.add_argument("--output", metavar="DIR", help="folder to write to (default: standard output)")
    render.set_defaults(run=_render)

    keys = actions.add_parser("keys", help="list all keys as a Markdown table")
    keys.set_defaults(run=_keys)


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``."""
    parser.add_argument("--config", metavar="FILE", help="orchestrator.yaml; else the variable ORCHESTRATOR_CONFIG")


def config_file(given: str | None) -> Path | None:
    """Give the file that was named, or else is named by the environment."""
    chosen = given or os.environ.get("ORCHESTRATOR_CONFIG")
    return Path(chosen) if chosen else None


def read_or_report(
    path: Path | None, environment: Mapping[str, str] | None = None, *, for_server: bool = True
) -> Reading:
    """Read the file and tell on the error stream what is wrong with it.

    Args:
        path: The file; None means that only variables say something.
        environment: The variables; those of the process when None.
        for_server: Whether a server is to be started from it; else only errors of single values are told.
    """
    from airflow_llm_provider.cli.files import report
    from airflow_llm_provider.config.reading import read_configuration

    reading = read_configuration(path, environment, for_server=for_server)
    report([problem for problem in reading.problems if problem.severity == "error" or for_server])
    return reading


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", nargs="?", metavar="FILE", help="orchestrator.yaml; else the variable ORCHESTRATOR_CONFIG"
    )


def _check(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.report_formats import FORMATS
    from airflow_llm_provider.config.reading import read_configuration

    path = config_file(arguments.config)
    if arguments.format == "text":
        reading = read_or_report(path)
        errors = sum(problem.severity == "error" for problem in reading.problems)
        warnings = len(reading.problems) - errors
        verdict = f"{errors} errors, {warnings} warnings" if reading.problems else "nothing is wrong with it"
        print(f"{path or 'no file, only variables'}: {verdict}")
    else:
        reading = read_configuration(path, for_server=True)
        if written := FORMATS[arguments.format](list(reading.problems)):
            print(written)
    return EXIT_BAD_FILE if reading.configuration is None or (arguments.strict and reading.problems) else EXIT_OK


def _show(arguments: argparse.Namespace) -> int:
    reading = read_or_report(config_file(arguments.config), for_server=False)
    if reading.configuration is None:
        return EXIT_BAD_FILE
    held = _without_secrets(reading.configuration)
    lines = [*_lines(held, (), reading, with_defaults=arguments.all)]
    width = min(72, max((len(text) for text, _ in lines), default=0))
    for text, source in lines:
        print(f"{text:<{width}}  # {source}" if source else text)
    return EXIT_OK


def _lines(
    value: Any, key: tuple[str | int, ...], reading: Reading, *, with_defaults: bool
) -> Iterator[tuple[str, str]]:
    indent = "  " * len(key)
    for name, item in value.items():
        inner = (*key, name)
        if isinstance(item, dict) and item:
            below = [*_lines(item, inner, reading, with_defaults=with_defaults)]
            if below:
                yield f"{indent}{name}:", ""
                yield from below
            continue
        source = reading.source(inner)
        if with_defaults or source != "default":
            yield f"{indent}{name}: {json.dumps(item, ensure_ascii=False)}", source


def _without_secrets(configuration: Configuration) -> dict[str, Any]:
    # pydantic writes stars in place of a secret; of an address, only the password is one.
    from pydantic import SecretStr

    held: dict[str, Any] = configuration.model_dump(mode="json", by_alias=True)
    queue = configuration.execution.queue
    for section, name, secret in (
        (held["database"], "url", configuration.database.url),
        (held["cache"], "url", configuration.cache.url),
        (held["execution"]["queue"], "url", queue.url),
        (held["execution"]["queue"], "result_backend", queue.result_backend),
    ):
        if secret is not None:
            section[name] = shown_address(secret.get_secret_value())
    stars = str(SecretStr("x"))
    shown: dict[str, Any] = json.loads(json.dumps(held, ensure_ascii=False).replace(stars, SECRET_SHOWN))
    return shown


def _env(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.config.airflow_settings import settings_of

    reading = read_or_report(config_file(arguments.config), for_server=False)
    if reading.configuration is None:
        return EXIT_BAD_FILE
    held = {setting.variable: setting for setting in settings_of(reading.configuration)}
    for name, setting in sorted(held.items()):
        from_key = f" ({setting.source})" if setting.source else ""
        print(f"# {setting.reason}{from_key}")
        print(f"{name}={SECRET_SHOWN if setting.is_secret and not arguments.with_secrets else setting.value}")
    return EXIT_OK


def _explain(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.config.describe import find_keys, sections

    asked: str = arguments.key.removeprefix("orchestrator.")
    try:
        wanted = find_keys(asked)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    reading = read_or_report(config_file(arguments.config), for_server=False)
    told = ["\n".join(_explanation(key, asked, reading)) for key in wanted]
    if (meaning := sections().get(asked.replace("-", "_"))) is not None:
        told.insert(0, f"{asked}\n  {_plain(meaning)}")
    print("\n\n".join(told))
    return EXIT_BAD_FILE if reading.configuration is None else EXIT_OK


def _explanation(key: Key, asked: str, reading: Reading) -> Iterator[str]:
    from airflow_llm_provider.config.airflow_settings import settings_of

    yield key.name
    yield f"  {_plain(key.meaning)}"
    yield f"  type      {key.kind.replace(chr(92), '')}"
    if key.default:
        yield f"  default   {key.default}"
    if key.variable:
        yield f"  variable  {key.variable}"
    configuration = reading.configuration
    if configuration is not None and (path := _path(key.name, asked)) is not None:
        value = _held(_without_secrets(configuration), path)
        if value not in (None, "", [], {}):
            yield f"  now       {value if isinstance(value, str) else json.dumps(value)}, from {reading.source(path)}"
    if key.reader:
        yield f"  read by   {_plain(key.reader)}"
    becomes = {setting.variable: setting for setting in settings_of(configuration)} if configuration else {}
    for name in key.settings:
        setting = becomes.get(name)
        if setting is None or setting.source != key.name:
            yield f"  becomes   {name}"
        else:
            yield f"  becomes   {name}={SECRET_SHOWN if setting.is_secret else setting.value}: {setting.reason}"


def _plain(text: str) -> str:
    return text.replace("`", "")


def _path(name: str, asked: str) -> tuple[str | int, ...] | None:
    """Give the way to what is asked for, ``budgets[0].name``; None where a name or a number is left open, ``budgets[].name``."""
    found: list[str | int] = []
    for own, given in zip_longest(_parts(name), _parts(asked)):
        part = own if own not in (None, "NAME", "[]") else given
        if part in (None, "[]", "NAME"):
            return None
        found.append(int(part[1:-1]) if part.startswith("[") else part)
    return tuple(found)


def _parts(key: str) -> list[str]:
    return re.findall(r"\[\d*\]|[^.\[\]]+", key)


def _held(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def _schema(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import write_or_print
    from airflow_llm_provider.config.schema import configuration_schema

    write_or_print(arguments.output, json.dumps(configuration_schema(), indent=2, ensure_ascii=False) + "\n")
    return EXIT_OK


def _render(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.cli.files import write_atomically
    from airflow_llm_provider.config.render import OF_A_CLUSTER, PIPED, Source, render
    from airflow_llm_provider.config.render.placeholders import known_variables, placeholders

    if arguments.target in PIPED and arguments.output is not None:
        raise ConfigurationError(
            f"{arguments.target} are not written to files; pipe them: … | kubectl apply --filename -"
        )
    path = config_file(arguments.config)
    given = path.read_text(encoding="utf-8", errors="replace") if path and path.is_file() else ""
    known = known_variables(given, os.environ) if arguments.target in OF_A_CLUSTER else dict(os.environ)
    # What only the deployment knows is not needed to make its files.
    unset = placeholders(given, known)
    reading = read_or_report(path, {**known, **unset}, for_server=False)
    if reading.configuration is None:
        return EXIT_BAD_FILE
    not_set = frozenset({*unset} & {*reading.variables})
    source = Source(reading.configuration, given, reading.variables, reading.secret_files, not_set)
    for name, text in render(arguments.target, source).items():
        if arguments.output is None:
            print(f"# --- {name}\n{text}", end="")
            continue
        target = Path(arguments.output) / name
        write_atomically(target, text)
        print(target)
    return EXIT_OK


def _keys(arguments: argparse.Namespace) -> int:
    from airflow_llm_provider.config.describe import key_table

    print(key_table(), end="")
    return EXIT_OK
