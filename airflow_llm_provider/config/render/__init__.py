"""The files of a deployment, made from ``orchestrator.yaml``: what each program beside Airflow reads.

Each target is a module with a function that gives the files by name; :func:`render` finds it by the target's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from airflow_llm_provider.config.configuration import Configuration

__all__ = ["TARGETS", "render"]

TARGETS: Mapping[str, str] = {
    "haproxy": "HAProxy before the API servers, and before a Patroni cluster",
    "patroni": "Patroni, a file for each machine of the database",
    "helm": "values for the Apache Airflow chart 1.22, and the manifests beside it",
    "systemd": "hardened units for one machine or for each of several, and the rotation of their logs",
}
"""Target to what it is."""


def render(target: str, configuration: Configuration, text: str = "") -> dict[str, str]:
    """Give the files of a target.

    Args:
        target: One of :data:`TARGETS`.
        configuration: What ``orchestrator.yaml`` says.
        text: That file, for a target that carries it along.

    Returns:
        Name, as a path below the folder of the target, to text.

    Raises:
        ConfigurationError: The file says too little for it.
    """
    module = import_module(f"{__name__}.{target}")
    files: dict[str, str] = module.files(configuration, text) if target == "helm" else module.files(configuration)
    return files
