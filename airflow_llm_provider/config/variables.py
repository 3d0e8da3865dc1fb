"""What ``orchestrator.yaml`` becomes in the environment besides Airflow options: what Airflow, its clients and tasks read there."""

from __future__ import annotations

import json
from collections.abc import Iterator

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.setting import Variable

__all__ = ["STORAGE_CONNECTION", "variables"]

STORAGE_CONNECTION = "llm_storage"
"""The Airflow connection by which Airflow itself reaches object storage; it is made of the section ``storage``."""


def variables(configuration: Configuration) -> Iterator[Variable]:
    """Give the environment variables of a system besides Airflow's options.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    for part in (_folders, _proxy, _gpus, _traces, _storage_access, _edge_queues, _preloaded):
        yield from part(configuration)


def _further_modules(configuration: Configuration) -> list[str]:
    """Give the modules that tasks import because of what the file says."""
    logs, results = configuration.observability.logging.tasks or "", configuration.storage.results or ""
    found = []
    if logs.startswith("s3://"):
        found += ["airflow.providers.amazon.aws.log.s3_task_handler", "airflow.providers.amazon.aws.hooks.s3"]
    if results:
        found += ["airflow.providers.common.io.xcom.backend"]
    if results.startswith("s3://"):
        found += ["airflow.providers.amazon.aws.fs.s3", "s3fs"]
    if (configuration.fault_tolerance.checkpoint.storage or "").startswith("s3://"):
        found += ["boto3"]
    if configuration.observability.tracing.enabled:
        found += ["opentelemetry.exporter.otlp.proto.http.trace_exporter"]
    return found


def _preloaded(configuration: Configuration) -> Iterator[Variable]:
    if found := _further_modules(configuration):
        why = "loaded once, and not by each task"
        yield Variable("ORCHESTRATOR_PRELOAD", ",".join(found), why)


def _edge_queues(configuration: Configuration) -> Iterator[Variable]:
    if configuration.edge.enabled or configuration.server.mode == "edge-worker":
        queues = ",".join(configuration.edge.queues)
        yield Variable(
            "ORCHESTRATOR_EDGE_QUEUES", queues, "tasks of these queues go to the edge executor", "edge.queues"
        )


def _folders(configuration: Configuration) -> Iterator[Variable]:
    yield Variable("AIRFLOW_HOME", str(configuration.home.absolute()), "where Airflow keeps its things", "home")


def _proxy(configuration: Configuration) -> Iterator[Variable]:
    if configuration.server.behind_proxy:
        why = "the API server believes a proxy on any machine, not on its own only: let nobody else reach its port"
        yield Variable("FORWARDED_ALLOW_IPS", "*", why, "server.behind_proxy")


def _gpus(configuration: Configuration) -> Iterator[Variable]:
    limit = configuration.execution.resources.gpu_limit
    if limit is not None:
        seen = ",".join(str(number) for number in range(limit))
        yield Variable("CUDA_VISIBLE_DEVICES", seen, "GPUs that tasks see", "execution.resources.gpu_limit")


def _traces(configuration: Configuration) -> Iterator[Variable]:
    tracing = configuration.observability.tracing
    if not tracing.enabled:
        return
    source, why = "observability.tracing.endpoint", "where spans are sent"
    yield Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", tracing.spans_endpoint, why, source)
    why = "over HTTP; Airflow's own default is gRPC"
    yield Variable("OTEL_TRACES_EXPORTER", "otlp_proto_http", why, "observability.tracing.exporter")
    yield Variable(
        "OTEL_SERVICE_NAME", "llm-orchestrator", "how the spans' sender is called", "observability.tracing.enabled"
    )
    source = "observability.tracing.sample_rate"
    yield Variable("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "a run is sent as a whole, or not at all", source)
    yield Variable("OTEL_TRACES_SAMPLER_ARG", f"{tracing.sample_rate:g}", "which part of the runs", source)


def _storage_access(configuration: Configuration) -> Iterator[Variable]:
    logs, results = configuration.observability.logging.tasks, configuration.storage.results
    if not any(url and url.startswith("s3://") for url in (logs, results)):
        return
    s3 = configuration.storage.s3
    extra = {"endpoint_url": s3.endpoint_url, "region_name": s3.region, "profile_name": s3.profile}
    given = {name: value for name, value in extra.items() if value}
    connection: dict[str, object] = {"conn_type": "aws", "extra": given}
    if s3.access_key_id and s3.secret_access_key:
        connection["login"] = s3.access_key_id.get_secret_value()
        connection["password"] = s3.secret_access_key.get_secret_value()
    if s3.session_token:
        given["aws_session_token"] = s3.session_token.get_secret_value()
    name = f"AIRFLOW_CONN_{STORAGE_CONNECTION.upper()}"
    yield Variable(name, json.dumps(connection), "how Airflow reaches object storage", "storage.s3", is_secret=True)
