"""The workflow language: the canonical model, names, templates, expressions, conditions and the graph. Pure: no I/O, no Airflow."""
