"""Reads ``orchestrator.yaml``: every error at once, each with its place, and for every value where it came from.

The stages: the text becomes data that remembers places; its keys become those of the model, for the file may also be written
below one key ``orchestrator`` and with hyphens; variables and secrets' files are put in; variables that stand for a key win over
the file; the model takes the data.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_llm_provider.config.addresses import may_hold_password
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.contradictions import contradictions
from airflow_llm_provider.config.problems import ConfigurationProblems
from airflow_llm_provider.config.secrets import holds_secrets, is_secret, is_secret_at
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.files.documents import Document, decode, parse
from airflow_llm_provider.files.fields import fields_of, is_list, type_at, values_of
from airflow_llm_provider.files.plaintext import HIDDEN
from airflow_llm_provider.spelling import closest, nearest
from airflow_llm_provider.workflow.model import DocumentPath

__all__ = ["VARIABLES", "Reading", "read_configuration"]

VARIABLES: Mapping[str, str] = {
    "DATABASE_URL": "database.url",
    "REDIS_URL": "cache.url",
    "ANTHROPIC_API_KEY": "integrations.llm_forge.api_keys.anthropic",
    "OPENAI_API_KEY": "integrations.llm_forge.api_keys.openai",
    "JWT_SECRET": "security.authentication.jwt_secret",
    "TLS_CERT_FILE": "server.tls.cert_file",
    "TLS_KEY_FILE": "server.tls.key_file",
    "JAEGER_ENDPOINT": "observability.tracing.endpoint",
    "PROMETHEUS_ENDPOINT": "observability.metrics.prometheus",
    "ORCHESTRATOR_MODE": "server.mode",
    "WORKER_THREADS": "execution.executor.worker_threads",
    "RUST_LOG": "observability.logging.level",
}
"""Variable to the key that it stands for. ``RUST_BACKTRACE`` means nothing here: logs always tell where a failure came from."""

_DEFAULTS: Mapping[str, str] = {"ORCHESTRATOR_ENVIRONMENT": "environment", "AIRFLOW_HOME": "home"}
"""Variable to the key that it stands for where the file does not say it."""

_PREFIX = "ORCHESTRATOR__"
"""``ORCHESTRATOR__DATABASE__POOL__MAX_CONNECTIONS`` stands for ``database.pool.max_connections``, and so for every other key."""

_VARIABLE = re.compile(
    r"\$\$ | \$\{(?P<name>\w+)(?::-(?P<default>(?:(?!\$[{(])[^}])*))?\} | \$\((?P<also>\w+)\) | (?P<broken>\$[{(])",
    re.VERBOSE,
)
"""A variable, with what stands for it when it is unset or empty; ``$$`` is a dollar."""

_ONLY_NAMES_ONE = re.compile(r"\$\{\w+\}|\$\(\w+\)")
"""A text that is a variable and nothing else, which everybody may read."""

_ROOT = "orchestrator"
_FILE = "_file"

_SAYS_SOMETHING = re.compile(r"^\s*(?!---\s*$)[^#\s]", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """What reading gave.

    Attributes:
        path: The file; None when there is none.
        problems: What is wrong.
        configuration: What it says; None after an error.
        variables: The variables that it names, each with what stands for it: the variable's value or the file's own default.
        secret_files: The files that it has secrets read from.
    """

    path: Path | None
    problems: tuple[Diagnostic, ...]
    configuration: Configuration | None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_files: tuple[str, ...] = ()
    _sources: Mapping[DocumentPath, Callable[[], str]] = field(default_factory=dict, repr=False)

    def valid(self) -> Configuration:
        """Give what it says.

        Raises:
            ConfigurationError: Something is wrong; the message has all that is.
        """
        if self.configuration is None:
            raise ConfigurationError(
                "\n".join(str(problem) for problem in self.problems if problem.severity == "error")
            )
        return self.configuration

    def source(self, key: DocumentPath) -> str:
        """Say where a value came from.

        Args:
            key: The way to it.

        Returns:
            ``orchestrator.yaml:12``, the variable, or ``default``.
        """
        for length in range(len(key), 0, -1):
            if key[:length] in self._sources:
                return self._sources[key[:length]]()
            if fields_of(type_at(Configuration, key[: length - 1])) is not None:
                # Of a section that the file has, a key may still be absent.
                return "default"
        return "default"


def read_configuration(
    path: Path | None, environment: Mapping[str, str] | None = None, *, for_server: bool = False
) -> Reading:
    """Read the configuration.

    Args:
        path: The file; None means that only variables say something.
        environment: The variables; those of the process when None.
        for_server: Whether a server is to be started from it, so that its values must go together
            (:mod:`airflow_llm_provider.config.contradictions`); a step needs less.
    """
    environment = os.environ if environment is None else environment
    text, name = "{}", "orchestrator.yaml"
    if path is not None:
        name = str(path)
        try:
            text, errors = decode(name, path.read_bytes())
        except OSError as error:
            return Reading(path, (Diagnostic(name, 1, 1, f"the configuration cannot be read: {error.strerror}"),), None)
        if errors:
            return Reading(path, errors, None)
    # A file that says nothing is one that changes nothing.
    parsed = parse(name, text if _SAYS_SOMETHING.search(text) else "{}")
    if not parsed.documents or parsed.errors:
        return Reading(path, tuple(replace(error, text=_outline(error.text)) for error in parsed.errors), None)
    return _Reader(parsed.documents[0], environment).read(path, len(parsed.documents), for_server=for_server)


def _outline(line: str) -> str:
    """Give a line of what is not YAML without its values: nobody can tell which of them are secrets."""
    key, colon, value = line.partition(":")
    return key + colon + re.sub(r"[^\s:,\[\]{}\"']", HIDDEN, value) if colon else re.sub(r"\S", HIDDEN, line)


class _Reader:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._problems = ConfigurationProblems(document)
        self._sources: dict[DocumentPath, Callable[[], str]] = {}
        self._variables: dict[str, str] = {}
        self._secret_files: list[str] = []

    def read(self, path: Path | None, documents: int, *, for_server: bool) -> Reading:
        if documents > 1:
            self._problems.error("the file holds more than one document; one is read", (), suggestion="split it")
        canonical: dict[str, Any] = {}
        for root, data in self._parts():
            if not isinstance(data, dict):
                self._problems.error("the file must be a mapping", root)
                return Reading(path, self._problems.shown(), None)
            self._problems.root = root
            canonical = _merged(canonical, self._members(data, Configuration, (), root))
        self._override(canonical)
        configuration = self._problems.validate(Configuration, canonical, (), without=self._problems.left_out)
        if for_server and configuration is not None:
            # What follows from a value that is wrong itself may not be so.
            concern = self._problems.concern
            found = [each for each in contradictions(configuration) if not concern(each.key, *each.follows_from)]
            for each in found:
                tell = self._problems.error if each.severity == "error" else self._problems.warning
                tell(each.message, tuple(each.key.split(".")), suggestion=each.suggestion)
        broken = self._problems.fatal
        configuration, files = None if broken else configuration, tuple(self._secret_files)
        return Reading(path, self._problems.shown(), configuration, self._variables, files, self._sources)

    def _parts(self) -> Iterator[tuple[DocumentPath, Any]]:
        """Give what the file says, with the way to it: mostly all of it, or all below one key."""
        data = self._document.data
        if not isinstance(data, dict) or _ROOT not in data:
            yield (), data
            return
        beside = {key: value for key, value in data.items() if key != _ROOT}
        if beside:
            message = f"there are keys below {_ROOT!r}, and beside it"
            suggestion = f"put all keys below {_ROOT!r}, or none"
            self._problems.error(message, (_ROOT,), suggestion=suggestion, at_key=True)
            yield (), beside
        yield (_ROOT,), {} if data[_ROOT] is None else data[_ROOT]

    def _members(
        self, data: Mapping[str, Any], kind: Any, key: DocumentPath, place: DocumentPath, *, secret: bool = False
    ) -> dict[str, Any]:
        """Give a section with the model's own names for its keys, or a mapping, with variables and secrets put in."""
        fields, inner = fields_of(kind, data), values_of(kind)
        given: dict[str, Any] = {}
        for written, value in data.items():
            at = (*place, written)
            name, is_file = _named(written, fields, inner)
            if name in given:
                self._problems.error(f"{written!r} says again what another key says; take one away", at, at_key=True)
            self._came_from((*key, name), at)
            if fields is not None and name not in fields:
                self._hide_unknown(value, name, fields, at)
            own = inner if fields is None else fields.get(name)
            below = (*key, name)
            given[name] = (
                self._content(value, below, at) if is_file else self._value(value, own, below, at, secret=secret)
            )
        return given

    def _value(self, value: Any, kind: Any, key: DocumentPath, place: DocumentPath, *, secret: bool = False) -> Any:
        # What stands in the place of a section by mistake may be the secret that belongs into it.
        is_structure = fields_of(kind) is not None or values_of(kind) is not None
        is_misplaced = is_structure and value is not None and not isinstance(value, dict) and holds_secrets(kind)
        secret = secret or is_misplaced or is_secret_at(kind, key)
        if secret and not _ONLY_NAMES_ONE.fullmatch(str(value)):
            self._problems.hide(place, _leaves(value))
        if value is None and fields_of(kind) is not None:
            # `cache:` with nothing below it says nothing.
            return {}
        if isinstance(value, dict):
            return self._members(value, kind, key, place, secret=secret)
        if isinstance(value, list):
            inner = values_of(kind)
            return [self._value(item, inner, (*key, i), (*place, i), secret=secret) for i, item in enumerate(value)]
        if isinstance(value, str):
            return self._expanded(value, key, place, secret=secret)
        return value

    def _hide_unknown(self, value: Any, name: str, fields: Mapping[str, Any], place: DocumentPath) -> None:
        """Hide what stands under a key that does not exist: it may be a misspelt secret."""
        meant = nearest(name, fields)
        self._problems.hide(place, _leaves(value) if meant and holds_secrets(fields[meant]) else ())

    def _expanded(self, text: str, key: DocumentPath, place: DocumentPath, *, secret: bool) -> str:
        if (broken := next((match for match in _VARIABLE.finditer(text) if match["broken"]), None)) is not None:
            problem = f"what begins with {broken['broken']} here is no variable"
            suggestion = "write ${VAR}, ${VAR:-default}, or $$ for a dollar"
            return self._refuse(problem, key, place, suggestion=suggestion, offset=broken.start())

        def put_in(match: re.Match[str]) -> str:
            name = match["name"] or match["also"]
            if name is None:
                return "$"
            value = self._environment.get(name) or match["default"]
            self._variables[name] = value or ""
            if value is None:
                self._problems.warning(
                    f"the variable {name} is not set, and counts as empty",
                    place,
                    suggestion=f"set it, or write ${{{name}:-default}}",
                )
            return _in_address(value or "", text, match) if secret else value or ""

        expanded = _VARIABLE.sub(put_in, text)
        if secret or may_hold_password(expanded):
            self._problems.hide(None if secret else place, (expanded,))
        return expanded

    def _content(self, value: Any, key: DocumentPath, place: DocumentPath) -> str:
        """Give what a secret's file holds; empty if none is named, or it cannot be read."""
        if value is not None and not isinstance(value, str):
            return self._refuse("a secret's file is named by its path", key, place)
        named = self._expanded(value or "", key, place, secret=False)
        if not named:
            return ""
        path = Path(named).expanduser()
        self._secret_files.append(str(path))
        try:
            text = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            return self._refuse(f"the secret's file {path} cannot be read: {error.strerror}", key, place)
        except UnicodeDecodeError:
            return self._refuse(f"the secret's file {path} is no UTF-8 text", key, place)
        if not text:
            return self._refuse(f"the secret's file {path} is empty", key, place)
        self._problems.hide(None, (text,))
        return text

    def _refuse(
        self, problem: str, key: DocumentPath, place: DocumentPath, *, suggestion: str = "", offset: int | None = None
    ) -> str:
        """Tell what is wrong with a value, and go on with none."""
        self._problems.error(problem, place, suggestion=suggestion, offset=offset)
        self._problems.left_out.add(key)
        return ""

    def _override(self, data: dict[str, Any]) -> None:
        """Let variables that stand for keys win."""
        stand_for = {name: key for name, key in VARIABLES.items() if self._environment.get(name)}
        stand_for |= {name: key for name, key in _DEFAULTS.items() if self._environment.get(name) and key not in data}
        # What a thing is says which keys it has.
        for name in sorted(self._environment, key=lambda name: (not name.endswith("__TYPE"), name)):
            if name.startswith(_PREFIX):
                stand_for[name] = name.removeprefix(_PREFIX).lower().replace("__", ".")
        for name, dotted in stand_for.items():
            key = tuple(dotted.split("."))
            kind = type_at(Configuration, key, data)
            if kind is None:
                self._problems.variable(name, f"there is no key {dotted}", _meant(key, data))
                continue
            value = _from_text(self._environment[name], kind)
            around = (type_at(Configuration, key[:length], data) for length in range(len(key)))
            if is_secret_at(kind, key) or holds_secrets(kind) or any(map(is_secret, around)):
                self._problems.hide(None, (self._environment[name], *_leaves(value)))
            section: Any = data
            for part in key[:-1]:
                section = section.setdefault(part, {}) if isinstance(section, dict) else {}
            if not isinstance(section, dict):
                # The file's own error at that place is told by the model.
                continue
            section[key[-1]] = value
            self._came_from_variable(key, value, name)
            if name == "REDIS_URL" and "type" not in section:
                section["type"] = "redis"
                self._came_from_variable(("cache", "type"), "redis", name)

    def _came_from(self, key: DocumentPath, place: DocumentPath) -> None:
        document = self._document
        self._sources[key] = lambda: f"{document.path}:{document.place(place, at_key=True)[0] + 1}"
        self._problems.places[key] = place

    def _came_from_variable(self, key: DocumentPath, value: Any, name: str) -> None:
        self._sources[key] = lambda: f"variable {name}"
        self._problems.variables[key] = name
        if isinstance(value, dict):
            for inner, item in value.items():
                self._came_from_variable((*key, inner), item, name)


def _named(written: str, fields: Mapping[str, Any] | None, inner: Any) -> tuple[str, bool]:
    """Give the key that the file means, of a section's or any of a mapping's, and whether its value is to be read from a file."""
    if fields is not None and written in fields:
        return written, False
    name = written if fields is None else written.replace("-", "_")
    whose = name.removesuffix(_FILE)
    is_file = whose != name and is_secret(inner if fields is None else fields.get(whose))
    return (whose, True) if is_file and (fields is None or name not in fields) else (name, False)


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {key for key in first if isinstance(first[key], dict) and isinstance(second.get(key), dict)}
    return {**first, **second, **{key: _merged(first[key], second[key]) for key in both}}


def _meant(key: tuple[str, ...], data: Mapping[str, Any]) -> str:
    """Suggest what a key was meant to be: by the first part of it that does not exist."""
    for length, part in enumerate(key):
        if type_at(Configuration, key[: length + 1], data) is None:
            inside: Any = data
            for above in key[:length]:
                inside = inside.get(above) if isinstance(inside, dict) else None
            return closest(part, fields_of(type_at(Configuration, key[:length], data), inside) or ())
    return ""


def _from_text(text: str, kind: Any) -> Any:
    """Give what a variable says in the place of a list, a mapping or a section: JSON, or a list's items between commas."""
    if fields_of(kind) is None and values_of(kind) is None:
        return text
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, (dict, list)):
        return found
    return [part.strip() for part in text.split(",") if part.strip()] if is_list(kind) else text


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield str(value)


def _in_address(value: str, text: str, match: re.Match[str]) -> str:
    """Write a user's name or password so that it can stand in a URL, which a generated password often cannot."""
    before, after = text[: match.start()], text[match.end() :]
    in_user_info = "://" in before and "/" not in before.partition("://")[2] and "@" in after.partition("/")[0]
    is_written_so = re.search(r"%[0-9A-Fa-f]{2}", value)
    return quote(value, safe="") if in_user_info and not is_written_so else value
