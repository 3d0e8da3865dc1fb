"""The Secrets of a cluster: which there are, what each entry holds, and the manifests that make them.

Each variable that ``orchestrator.yaml`` names is an entry of one Secret, named as the variable with hyphens: ``OPENAI_API_KEY`` is
``openai-api-key``. So is what nobody may read of Airflow's options. An address that the chart wants in a Secret of its own is its
entry ``connection``. What the file does not name is made once, by :mod:`.keys`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.kubernetes import GitSync
from airflow_llm_provider.config.render import Source
from airflow_llm_provider.config.setting import environment
from airflow_llm_provider.errors import ConfigurationError

__all__ = [
    "PASSWORDS",
    "entries",
    "files",
    "manifests",
    "password_secret",
    "secret_with",
    "to_make",
    "users",
    "variables_from_secrets",
]

PASSWORDS = "passwords.json"
"""The entry with the users' passwords: what Airflow reads, name to password."""

_KEYS = {
    "fernet-key": "AIRFLOW__CORE__FERNET_KEY",
    "jwt-secret": "AIRFLOW__API_AUTH__JWT_SECRET",
    "api-secret-key": "AIRFLOW__API__SECRET_KEY",
}
"""Entry, as the chart calls it, to the variable that Airflow reads it from."""

_ADDRESS, _ASYNC = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"
_BROKER, _RESULTS = "AIRFLOW__CELERY__BROKER_URL", "AIRFLOW__CELERY__RESULT_BACKEND"


def entries(source: Source) -> dict[str, dict[str, str | None]]:
    """Give all Secrets that a cluster needs.

    Args:
        source: What ``orchestrator.yaml`` says.

    Returns:
        Name of the Secret to its entries; None stands for what is made, or told by who makes them.
    """
    made: dict[str, dict[str, str | None]] = {name: {**dict.fromkeys(held)} for name, held in to_make(source).items()}
    return {**_told(source), **made}


def _told(source: Source) -> dict[str, dict[str, str | None]]:
    """Give the Secrets that follow from the file and its variables."""
    configuration = source.configuration
    name, git = configuration.kubernetes.secret, configuration.kubernetes.git
    known = environment(settings_of(configuration))
    address = known[_ADDRESS]
    found: dict[str, dict[str, str | None]] = {
        name: {
            **{_entry_of(variable): value for variable, value in source.variables.items()},
            **{_entry_of(variable): known[variable] for variable in _secret_options(configuration)},
            **{entry: known[variable] for entry, variable in _KEYS.items() if variable in known},
        },
        f"{name}-database": {"connection": address},
    }
    if "celery" in configuration.executor:
        found[f"{name}-queue"] = {"connection": known.get(_BROKER)}
        found[f"{name}-results"] = {"connection": known.get(_RESULTS)}
        if configuration.kubernetes.autoscaler == "keda":
            # KEDA asks the database itself, and knows no driver of Python's.
            scheme = urlsplit(address).scheme
            found[f"{name}-database"]["plain"] = address.replace(scheme, scheme.partition("+")[0], 1)
    password = configuration.security.authentication.admin_password
    if password is not None and users(configuration) == ["admin"]:
        found[password_secret(configuration)] = {PASSWORDS: json.dumps({"admin": password.get_secret_value()})}
    if git.secret:
        found[git.secret] = dict.fromkeys(_git_entries(git))
    return found


def to_make(source: Source) -> dict[str, tuple[str, ...]]:
    """Give the Secrets with what the file does not name.

    Args:
        source: What ``orchestrator.yaml`` says.

    Returns:
        Name of the Secret to its entries.
    """
    configuration = source.configuration
    known, told = environment(settings_of(configuration)), _told(source)
    missing = tuple(entry for entry, variable in _KEYS.items() if variable not in known)
    passwords = password_secret(configuration)
    return {
        **({f"{configuration.kubernetes.secret}-keys": missing} if missing else {}),
        **({} if passwords in told else {passwords: (PASSWORDS,)}),
    }


def _entry_of(variable: str) -> str:
    return variable.lower().replace("_", "-")


def _secret_options(configuration: Configuration) -> list[str]:
    """Give the variables of Airflow that nobody may read, besides those that the chart takes by itself."""
    charts = {_ADDRESS, _ASYNC, _BROKER, _RESULTS, *_KEYS.values()}
    return sorted({item.variable for item in settings_of(configuration) if item.is_secret} - charts)


def password_secret(configuration: Configuration) -> str:
    """Give the name of the Secret with the users' passwords."""
    return f"{configuration.kubernetes.secret}-admin"


def secret_with(source: Source, entry: str) -> str:
    """Give the name of the Secret that has an entry."""
    return next(name for name, held in entries(source).items() if entry in held)


def variables_from_secrets(source: Source) -> dict[str, tuple[str, str]]:
    """Give the variables that pods take from Secrets, besides those that the chart takes by itself.

    Returns:
        Variable to its Secret and entry.
    """
    configuration, name = source.configuration, source.configuration.kubernetes.secret
    variables = sorted({*source.variables, *_secret_options(configuration)})
    found = {variable: (name, _entry_of(variable)) for variable in variables}
    # The chart sets the other one only, and Airflow would take a driver for this one that is not installed.
    found[_ASYNC] = (f"{name}-database", "connection")
    if "plain" in _told(source)[f"{name}-database"]:
        # The chart has KEDA read this variable of the workers.
        found["AIRFLOW_CONN_AIRFLOW_DB"] = (f"{name}-database", "plain")
    return found


def files(source: Source) -> dict[str, str]:
    """Give the Secrets with the values of this process' variables.

    Nothing of it should be kept: pipe it into ``kubectl apply``, after each change of a variable.

    Raises:
        ConfigurationError: A variable is not set.
    """
    if source.unset:
        missing = sorted(source.unset)
        raise ConfigurationError(
            f"{', '.join(missing)}: not set, and the pods need {'it' if len(missing) == 1 else 'them'}; "
            "set what the cluster is to use, and run this again"
        )
    git = source.configuration.kubernetes.git
    told = _git_entries(git, os.environ) if git.secret else {}
    held = {
        name: {entry: told.get(entry, "") if value is None else value for entry, value in content.items()}
        for name, content in _told(source).items()
    }
    return {"secrets.yaml": manifests(source.configuration, held)}


def manifests(configuration: Configuration, held: Mapping[str, Mapping[str, str]]) -> str:
    """Give the manifests of Secrets.

    Args:
        configuration: Says where they are.
        held: Name of a Secret to entry to value.
    """
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": configuration.kubernetes.namespace},
            "type": "Opaque",
            "stringData": dict(content),
        }
        for name, content in held.items()
    ]
    return yaml.safe_dump_all(documents, sort_keys=False)


def users(configuration: Configuration) -> list[str]:
    """Give the names of who may log in."""
    known = environment(settings_of(configuration))
    return [user.partition(":")[0] for user in known["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"].split(",")]


def _git_entries(git: GitSync, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give what git-sync reads; the chart sets the names of its versions 3 and 4."""
    wanted = ("GIT_SSH_KEY_FILE",) if git.by_ssh else ("GIT_USERNAME", "GIT_PASSWORD")
    missing = [name for name in wanted if given is not None and not given.get(name)]
    if missing:
        raise ConfigurationError(
            f"{' and '.join(missing)}: not set, and git-sync needs {'it' if len(missing) == 1 else 'them'} for"
            f" {git.repository}; a repository that everybody may read needs no 'kubernetes.git.secret'"
        )
    told = [(given or {}).get(name, "") for name in wanted]
    if git.by_ssh:
        return {"gitSshKey": _content(told[0]) if given is not None else ""}
    return {
        f"{prefix}_{name}": value
        for prefix in ("GIT_SYNC", "GITSYNC")
        for name, value in zip(("USERNAME", "PASSWORD"), told, strict=True)
    }


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"GIT_SSH_KEY_FILE: {path} cannot be read: {error.strerror}") from error
