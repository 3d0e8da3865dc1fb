"""Airflow DAGs from the workflow files beside this file and in the folders below it."""

from __future__ import annotations

from pathlib import Path

from dag_factory import load_dags

globals().update(load_dags(Path(__file__).parent))
