"""A server that speaks the providers' wire formats, answers by rules, and fails on request: for demos and tests without keys.

::

    with SimulatorServer(example_rules()) as simulator:
        client = openai.OpenAI(base_url=simulator.openai_base_url, api_key="any")

``llm-orchestrator simulator`` is the same server as a program. Faults are put in line with ``POST /_simulator/faults``, seen calls
are at ``GET /_simulator/stats``; see :mod:`airflow_llm_provider.simulator.app`.
"""

from __future__ import annotations

from importlib import resources

from airflow_llm_provider.clients.rules import Rule, load_rules
from airflow_llm_provider.simulator.app import Simulator, create_app, serve
from airflow_llm_provider.simulator.server import SimulatorServer

__all__ = ["Simulator", "SimulatorServer", "create_app", "example_rules", "serve"]


def example_rules() -> list[Rule]:
    """Give answers that let the example workflows take their interesting ways."""
    with resources.as_file(resources.files(__name__) / "example_answers.yaml") as path:
        return load_rules(path)
