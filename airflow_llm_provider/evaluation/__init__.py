"""Judges answers: metrics from 0 (bad) to 1 (good), computed here from the texts alone.

No metric asks a model or needs weights, ``llm_judge`` aside, whose question and verdict are made and read here while the step
asks. What a metric can and cannot see stands in its docstring.
"""

from airflow_llm_provider.evaluation.metrics import METRICS, measure, missing, summarise
from airflow_llm_provider.evaluation.values import Evaluation, MetricName, MetricResult, Subject

__all__ = [
    "METRICS",
    "Evaluation",
    "MetricName",
    "MetricResult",
    "Subject",
    "measure",
    "missing",
    "summarise",
]
