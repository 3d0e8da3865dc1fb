"""Reads ``orchestrator.yaml``: every error at once, each with its place, and for every value where it came from.

The stages: the text becomes data that remembers places; its keys become those of the model, for the file may also be written
below one key ``orchestrator`` and with hyphens; variables and secrets' files are put in; variables that stand for a key win over
the file; the model takes the data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

from airflow_llm_provider.config.airflow_options import is_secret_option
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.contradictions import contradictions
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.files.diagnostics import Diagnostic
from airflow_llm_provider.files.documents import Document, decode, parse
from airflow_llm_provider.files.problems import Problems
from airflow_llm_provider.workflow.model import DocumentPath

__all__ = ["VARIABLES", "Reading", "leaves_of", "read_configuration", "secrets_of"]

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

_PREFIX = "ORCHESTRATOR__"
"""``ORCHESTRATOR__DATABASE__POOL__MAX_CONNECTIONS`` stands for ``database.pool.max_connections``, and so for every other key."""

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}|\$\((\w+)\)")
"""A variable, with what stands for it when it is unset or empty; ``$$`` is a dollar."""

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
        return Reading(path, parsed.errors, None)
    return _Reader(parsed.documents[0], environment).read(path, len(parsed.documents), for_server=for_server)


class _Reader:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._problems = _ConfigurationProblems(document)
        self._sources: dict[DocumentPath, Callable[[], str]] = {}
        self._variables: dict[str, str] = {}
        self._secret_files: list[str] = []

    def read(self, path: Path | None, documents: int, *, for_server: bool) -> Reading:
        data: Any = self._document.data
        root: DocumentPath = ()
        if documents > 1:
            self._problems.error("the file holds more than one document; one is read", (), suggestion="split it")
        if isinstance(data, dict) and [*data] == ["orchestrator"]:
            data, root = data["orchestrator"], ("orchestrator",)
        if not isinstance(data, dict):
            self._problems.error("the file must be a mapping", root)
            return Reading(path, tuple(self._problems.found), None)
        self._problems.root = root
        canonical = self._section(data, Configuration, (), root)
        self._override(canonical)
        configuration = self._problems.validate(Configuration, canonical, ())
        if for_server and configuration is not None and not self._problems.fatal:
            for found in contradictions(configuration):
                tell = self._problems.error if found.severity == "error" else self._problems.warning
                tell(found.message, tuple(found.key.split(".")), suggestion=found.suggestion)
        broken = self._problems.fatal
        configuration, files = None if broken else configuration, tuple(self._secret_files)
        return Reading(path, tuple(self._problems.found), configuration, self._variables, files, self._sources)

    def _section(self, data: Mapping[str, Any], model: type[BaseModel], key: DocumentPath, place: DocumentPath) -> Any:
        """Give a section with the model's own names for its keys, and its variables put in."""
        types = _types(model)
        names = {(info.alias or name): name for name, info in model.model_fields.items()}
        given: dict[str, Any] = {}
        for written, value in data.items():
            name = written if written in names else written.replace("-", "_")
            at = (*place, written)
            secret = name.removesuffix(_FILE)
            if name not in names and name.endswith(_FILE) and _is_secret(types.get(names.get(secret, ""))):
                name, value = secret, self._content(value, at)
            if name in given:
                self._problems.error(f"{written!r} says again what another key says; take one away", at, at_key=True)
            self._came_from((*key, name), at)
            kind = types.get(names.get(name, ""))
            given[name] = self._value(value, kind, (*key, name), at)
        return given

    def _value(self, value: Any, kind: Any, key: DocumentPath, place: DocumentPath) -> Any:
        model = _model_of(kind)
        secret = _is_secret_at(kind, key)
        if secret and value is not None and not isinstance(value, str):
            # What stands in a secret's place by mistake may hold it.
            self._document.lines.hide((), _leaves(value))
        if isinstance(value, dict) and model is not None and get_origin(_bare(kind)) is not dict:
            return self._section(value, model, key, place)
        if value is None and model is not None:
            # `cache:` with nothing below it says nothing.
            return {}
        if isinstance(value, dict):
            inner = _values_of(kind)
            return dict(self._mapping(value, inner, key, place))
        if isinstance(value, list):
            inner = _values_of(kind)
            return [self._value(item, inner, (*key, i), (*place, i)) for i, item in enumerate(value)]
        if isinstance(value, str):
            return self._expanded(value, place, secret=secret)
        return value

    def _mapping(
        self, value: Mapping[str, Any], kind: Any, key: DocumentPath, place: DocumentPath
    ) -> Iterator[tuple[str, Any]]:
        for written, item in value.items():
            at, name = (*place, written), written
            if _is_secret(kind) and written.endswith(_FILE):
                name, item = written.removesuffix(_FILE), self._content(item, at)
            self._came_from((*key, name), at)
            yield name, self._value(item, kind, (*key, name), at)

    def _expanded(self, text: str, place: DocumentPath, *, secret: bool) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1] or match[3]
            if name is None:
                return "$"
            value = self._environment.get(name) or match[2]
            self._variables[name] = value or ""
            if value is None:
                self._problems.warning(
                    f"the variable {name} is not set, and counts as empty",
                    place,
                    suggestion=f"set it, or write ${{{name}:-default}}",
                )
            return _in_address(value or "", text, match) if secret else value or ""

        expanded = _VARIABLE.sub(replace, text)
        if secret:
            self._document.lines.hide((), (expanded,))
        return expanded

    def _content(self, value: Any, place: DocumentPath) -> str:
        if not isinstance(value, str):
            self._problems.error("a secret's file is named by its path", place)
            return ""
        path = Path(self._expanded(value, place, secret=False))
        self._secret_files.append(str(path))
        try:
            text = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            self._problems.error(f"the secret's file {path} cannot be read: {error.strerror}", place)
            return ""
        except UnicodeDecodeError:
            self._problems.error(f"the secret's file {path} is no UTF-8 text", place)
            return ""
        self._document.lines.hide((), (text,))
        return text

    def _override(self, data: dict[str, Any]) -> None:
        """Let variables that stand for keys win."""
        stand_for = {name: key for name, key in VARIABLES.items() if self._environment.get(name)}
        for name in sorted(self._environment):
            if name.startswith(_PREFIX):
                stand_for[name] = name.removeprefix(_PREFIX).lower().replace("__", ".")
        for name, dotted in stand_for.items():
            key = tuple(dotted.split("."))
            kind = _type_at(Configuration, key)
            if kind is None:
                self._problems.variable(name, f"there is no key {dotted}")
                continue
            value = self._environment[name]
            if _is_secret_at(kind, key):
                self._document.lines.hide((), (value,))
            section: Any = data
            for part in key[:-1]:
                section = section.setdefault(part, {}) if isinstance(section, dict) else {}
            if not isinstance(section, dict):
                # The file's own error at that place is told by the model.
                continue
            section[key[-1]] = value
            self._sources[key] = lambda name=name: f"variable {name}"  # type: ignore[misc]
            self._problems.variables[key] = name
            if name == "REDIS_URL":
                section.setdefault("type", "redis")

    def _came_from(self, key: DocumentPath, place: DocumentPath) -> None:
        document = self._document
        self._sources[key] = lambda: f"{document.path}:{document.place(place, at_key=True)[0] + 1}"
        self._problems.places[key] = place


class _ConfigurationProblems(Problems):
    """Knows where the keys of the model stand in the file, or which variable they are from."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self.places: dict[DocumentPath, DocumentPath] = {}
        self.variables: dict[DocumentPath, str] = {}
        self.root: DocumentPath = ()

    def error(
        self, message: str, path: DocumentPath, *, suggestion: str = "", at_key: bool = False, offset: int | None = None
    ) -> None:
        """Add an error; the path is that of the model or, as long as the file is read, of the document."""
        if path in self.variables:
            self.variable(self.variables[path], message, suggestion)
            return
        super().error(message, self._in_file(path), suggestion=suggestion, at_key=at_key, offset=offset)

    def warning(
        self, message: str, path: DocumentPath, *, suggestion: str = "", offset: int | None = None, at_key: bool = False
    ) -> None:
        """Add a warning; the path is that of the model or, as long as the file is read, of the document."""
        if path in self.variables:
            self.variable(self.variables[path], message, suggestion, severity="warning")
            return
        super().warning(message, self._in_file(path), suggestion=suggestion, offset=offset, at_key=at_key)

    def _in_file(self, path: DocumentPath) -> DocumentPath:
        above = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.places), None)
        if above is not None:
            return (*self.places[above], *path[len(above) :])
        return path if path[: len(self.root)] == self.root else (*self.root, *path)

    def variable(
        self, name: str, message: str, suggestion: str = "", severity: Literal["error", "warning"] = "error"
    ) -> None:
        """Add what is wrong in a variable."""
        self.found.append(Diagnostic(f"${name}", 1, 1, self.hidden(message), suggestion, severity))


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


@cache
def _types(model: type[BaseModel]) -> Mapping[str, Any]:
    return get_type_hints(model, include_extras=True)


def _bare(kind: Any) -> Any:
    """Take away what is written around a type: ``Annotated`` and ``| None``."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        arguments = [item for item in get_args(kind) if item is not type(None)]
        if get_origin(kind) is not Annotated and len(arguments) > 1:
            return kind
        kind = arguments[0]
    return kind


def _model_of(kind: Any) -> type[BaseModel] | None:
    """Give the section that a key is, if it is one."""
    bare = _bare(kind)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _values_of(kind: Any) -> Any:
    """Give the type of what a list or a mapping holds."""
    arguments = get_args(_bare(kind))
    return next((item for item in reversed(arguments) if item is not Ellipsis), None)


def _is_secret(kind: Any) -> bool:
    bare = _bare(kind)
    return isinstance(bare, type) and issubclass(bare, SecretStr)


def _is_secret_at(kind: Any, key: DocumentPath) -> bool:
    return _is_secret(kind) or (len(key) == 3 and key[0] == "airflow" and is_secret_option(str(key[2])))


def _type_at(model: type[BaseModel], key: DocumentPath) -> Any:
    kind: Any = model
    for part in key:
        found = _model_of(kind)
        if found is not None:
            kind = _types(found).get(str(part))
        elif get_origin(_bare(kind)) is not None:
            kind = _values_of(kind)
        else:
            return None
    return kind


def leaves_of(value: Any) -> Iterator[Any]:
    """Give all single values that a model holds, wherever.

    Args:
        value: A model, or what is in one.
    """
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from leaves_of(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves_of(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from leaves_of(item)
    else:
        yield value


def secrets_of(value: Any) -> Iterator[str]:
    """Give all secrets that a model holds, wherever.

    Args:
        value: A model, or what is in one.
    """
    return (leaf.get_secret_value() for leaf in leaves_of(value) if isinstance(leaf, SecretStr))
