"""Airflow operators: thin faces over :func:`airflow_llm_provider.engine.step.run_step`.

For DAGs that are written in Python: :mod:`airflow_llm_provider.operators.executors`.
"""
