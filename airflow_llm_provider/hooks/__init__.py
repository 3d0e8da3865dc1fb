"""Airflow connections of the providers."""
