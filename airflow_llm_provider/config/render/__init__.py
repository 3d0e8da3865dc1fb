"""The files of a deployment, made from ``orchestrator.yaml``: what each program beside Airflow reads.

Each target is a module with a function that gives the files by name; :func:`render` finds it by the target's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render.hidden import refuse_secrets

__all__ = ["OF_A_CLUSTER", "PIPED", "TARGETS", "Source", "render"]

TARGETS: Mapping[str, str] = {
    "haproxy": "HAProxy before the API servers, and before a Patroni cluster",
    "patroni": "Patroni, a file for each machine of the database",
    "helm": "values for the Apache Airflow chart 1.22, and the manifests beside it",
    "secrets": "the Secrets of a cluster, with what the environment holds: for a pipe into kubectl apply",
    "keys": "the Secrets with the keys and passwords that are made once: for a pipe into kubectl create",
    "systemd": "hardened units for one machine or for each of several, and the rotation of their logs",
}
"""Target to what it is."""

PIPED = ("secrets", "keys")
"""Targets that are secret, and must not become files."""

OF_A_CLUSTER = ("helm", *PIPED)
"""Targets of a cluster, whose pods have no variables but those that the file names."""


@dataclass(frozen=True)
class Source:
    """What files are made from.

    Attributes:
        configuration: What ``orchestrator.yaml`` says.
        text: That file.
        variables: The variables that it names, with their values.
        secret_files: The files that it has secrets read from.
        unset: Those of the variables that nobody has set; their values only stand for others.
    """

    configuration: Configuration
    text: str = ""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_files: tuple[str, ...] = ()
    unset: frozenset[str] = frozenset()


def render(target: str, source: Source) -> dict[str, str]:
    """Give the files of a target.

    Args:
        target: One of :data:`TARGETS`.
        source: What they are made from.

    Returns:
        Name, as a path below the folder of the target, to text.

    Raises:
        ConfigurationError: The file says too little for it, or a file for many would hold a secret.
    """
    files: dict[str, str] = import_module(f"{__name__}.{target}").files(source)
    if target not in PIPED:
        refuse_secrets(source, files)
    return files
