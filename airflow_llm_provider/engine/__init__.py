"""Runs a step, runs a workflow: async, and free of Airflow."""
