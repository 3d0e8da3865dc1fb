"""Loads, when it is imported, what every task needs: in the process that tasks are forked from, so that none loads it for itself.

Airflow's own components come here through the plugin. A Celery worker has no such moment; its configuration (``imports``) names
this module.
"""

from __future__ import annotations

import importlib
import os

__all__ = ["ALWAYS", "VARIABLE"]

VARIABLE = "ORCHESTRATOR_PRELOAD"
"""The variable that names further modules, with commas between."""

ALWAYS = (
    "airflow.dag_processing.dagbag",
    "airflow_llm_provider.config.reading",
    "airflow_llm_provider.hooks.checkpoint",
    "airflow_llm_provider.operators.step",
    "airflow_llm_provider.executors.llm",
    "airflow_llm_provider.executors.transform",
    "airflow_llm_provider.executors.action",
    "airflow_llm_provider.clients.openai",
    "airflow_llm_provider.clients.anthropic",
    "anyio._backends._asyncio",
    "dag_factory.loader",
    "lark",
    "tenacity",
)

_WORKFLOW = """
name: preloaded
steps: [{id: ask, provider: openai, model: gpt-4o-mini, prompt: "{{ inputs.text }}"}]
"""

for _name in (*ALWAYS, *filter(None, os.environ.get(VARIABLE, "").split(","))):
    importlib.import_module(_name)

# The first file that is read has the executors looked up and the models built.
importlib.import_module("dag_factory.read").read_text("preloaded.yaml", _WORKFLOW)
