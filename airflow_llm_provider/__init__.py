"""LLM steps for Apache Airflow: the workflow language, the engine, the provider clients and their Airflow faces."""

from __future__ import annotations

__version__ = "0.1.0"
