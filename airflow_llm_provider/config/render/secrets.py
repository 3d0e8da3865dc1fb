"""The Secrets of a cluster: which there are, what each entry holds, and the manifests that make them.

Each variable that ``orchestrator.yaml`` names is an entry of one Secret, named as the variable with hyphens: ``OPENAI_API_KEY`` is
``openai-api-key``. The keys that Airflow signs and encrypts with are there too. An address that the chart wants in a Secret of its
own is its entry ``connection``.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from airflow_llm_provider.config.airflow_settings import STORAGE_CONNECTION, environment, settings_of
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.kubernetes import GitSync
from airflow_llm_provider.config.render import Source
from airflow_llm_provider.config.security import new_fernet_key
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["entries", "entry_of", "files", "password_secret", "variables_from_secrets"]

_STORAGE = f"AIRFLOW_CONN_{STORAGE_CONNECTION.upper()}"
_KEYS = {
    "fernet-key": "AIRFLOW__CORE__FERNET_KEY",
    "jwt-secret": "AIRFLOW__API_AUTH__JWT_SECRET",
    "api-secret-key": "AIRFLOW__API__SECRET_KEY",
}
"""Entry, as the chart calls it, to the variable that Airflow reads it from."""


def entries(source: Source) -> dict[str, dict[str, str | None]]:
    """Give all Secrets that a cluster needs.

    Args:
        source: What ``orchestrator.yaml`` says.

    Returns:
        Name of the Secret to its entries; None stands for what has to be made, or told.
    """
    configuration = source.configuration
    name, git = configuration.kubernetes.secret, configuration.kubernetes.git
    known = environment(settings_of(configuration))
    address = known["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    main = {
        **{entry_of(variable): value for variable, value in source.variables.items()},
        **{entry: known.get(variable) for entry, variable in _KEYS.items()},
    }
    if _STORAGE in known:
        main["storage-connection"] = known[_STORAGE]
    found: dict[str, dict[str, str | None]] = {
        name: main,
        password_secret(configuration): {"passwords.json": None},
        f"{name}-database": {"connection": address},
    }
    if "celery" in configuration.executor:
        found[f"{name}-queue"] = {"connection": known.get("AIRFLOW__CELERY__BROKER_URL")}
        found[f"{name}-results"] = {"connection": known.get("AIRFLOW__CELERY__RESULT_BACKEND")}
        if configuration.kubernetes.autoscaler == "keda":
            # KEDA asks the database itself, and knows no driver of Python's.
            scheme = urlsplit(address).scheme
            found[f"{name}-database"]["plain"] = address.replace(scheme, scheme.partition("+")[0], 1)
    if git.secret:
        found[git.secret] = dict.fromkeys(_git_entries(git))
    return found


def entry_of(variable: str) -> str:
    """Give the entry that holds a variable."""
    return variable.lower().replace("_", "-")


def password_secret(configuration: Configuration) -> str:
    """Give the name of the Secret with the users' passwords."""
    return f"{configuration.kubernetes.secret}-admin"


def variables_from_secrets(source: Source) -> dict[str, tuple[str, str]]:
    """Give the variables that pods take from Secrets, besides those that the chart takes by itself.

    Returns:
        Variable to its Secret and entry.
    """
    name, held = source.configuration.kubernetes.secret, entries(source)
    found = {variable: (name, entry_of(variable)) for variable in sorted(source.variables)}
    # The chart sets the other one only, and Airflow would take a driver for this one that is not installed.
    found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] = (f"{name}-database", "connection")
    if "storage-connection" in held[name]:
        found[_STORAGE] = (name, "storage-connection")
    if "plain" in held[f"{name}-database"]:
        # The chart has KEDA read this variable of the workers.
        found["AIRFLOW_CONN_AIRFLOW_DB"] = (f"{name}-database", "plain")
    return found


def files(source: Source) -> dict[str, str]:
    """Give the Secrets themselves, with the values of this process' variables; keys and passwords are made.

    Nothing of it should be kept: pipe it into ``kubectl create``, which leaves alone what is there.

    Raises:
        ConfigurationError: A variable is not set.
    """
    configuration = source.configuration
    missing = sorted(name for name, value in source.variables.items() if not value)
    if missing:
        raise ConfigurationError(
            f"{', '.join(missing)}: not set, and the pods need {'it' if len(missing) == 1 else 'them'}; "
            "set what the cluster is to use, and run this again"
        )
    held = entries(source)
    made = {**{entry: secrets.token_urlsafe(48) for entry in _KEYS}, "fernet-key": new_fernet_key()}
    made["passwords.json"] = json.dumps({user: secrets.token_urlsafe(12) for user in _users(configuration)})
    git = configuration.kubernetes.git
    if git.secret:
        made |= _git_entries(git, os.environ)
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": configuration.kubernetes.namespace},
            "type": "Opaque",
            "stringData": {entry: made[entry] if value is None else value for entry, value in content.items()},
        }
        for name, content in held.items()
    ]
    return {"secrets.yaml": yaml.safe_dump_all(documents, sort_keys=False)}


def _users(configuration: Configuration) -> list[str]:
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
