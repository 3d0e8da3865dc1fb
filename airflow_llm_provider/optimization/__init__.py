"""What could be better about a workflow: its recorded metrics, and recommendations from them by plain rules."""

from airflow_llm_provider.optimization.recommendations import Recommendations, recommend
from airflow_llm_provider.optimization.records import MetricRecord, read_records, record_file

__all__ = ["MetricRecord", "Recommendations", "read_records", "recommend", "record_file"]
