"""Airflow operators: thin faces over :func:`airflow_llm_provider.engine.step.run_step`."""
