"""The Airflow plugin: warms the processes that tasks are forked from.

Every process that loads plugins imports this module, so it imports nothing else.
"""

from __future__ import annotations

import importlib
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

__all__ = ["LLMProviderPlugin"]


class _Preload:
    """Imports in the parent what each forked task would otherwise import for itself."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """Import what tasks need, in Airflow's long-running components.

        Args:
            component: A ``Job`` in these, and another marker in a task's own process, which imports what it uses anyway.
        """
        if type(component).__name__ == "Job":
            importlib.import_module("airflow_llm_provider.preloaded")


class LLMProviderPlugin(AirflowPlugin):
    """What this package adds to Airflow's processes."""

    name = "airflow_llm_provider"
    listeners = [_Preload()]  # noqa: RUF012 - Airflow's plugin interface is class attributes
