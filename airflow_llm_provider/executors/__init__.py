"""What a step can do, a module per family; found through the entry point group ``airflow_llm_provider.executors``."""
