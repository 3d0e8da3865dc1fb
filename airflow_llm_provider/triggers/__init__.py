"""Triggers that Airflow's triggerer runs."""
