"""What is configured, as data: the settings that steps read, and the ones that Airflow is started with."""

from __future__ import annotations
