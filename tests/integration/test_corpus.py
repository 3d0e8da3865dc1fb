"""The published workflow files: each validates, compiles, and runs to its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.config.targets import AwsAccess, Storage
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.simulator import SimulatorServer
from dag_factory import read_file
from dag_factory.compile import to_dag

INPUTS: dict[str, dict[str, Any]] = {
    "001-content-moderation-router": {"content": "hello"},
    "002-rag-qa-pipeline": {"question": "What is tea?"},
    "003-sentiment-analysis-pipeline": {"text": "hello"},
    "004-simple-workflow": {"name": "Ann"},
    "005-transform-workflow": {"text1": [{"status": "active"}], "text2": [{"status": "gone"}]},
    "007-simple-inference": {"prompt": "hello"},
    "008-llm-pipeline-with-eval": {"user_query": "hello", "expected_answer": "something else entirely"},
    "009-daily-batch-summarization": {},
    "011-multi-model-comparison": {"prompt": "hello"},
    "012-llm-with-evaluation": {"prompt": "hello", "expected_response": "hello", "quality_threshold": 0.0},
    "014-governed-llm-workflow": {"prompt": "hello"},
    "018-blog-post-generator": {"topic": "tea", "tone": "calm", "audience": "everyone"},
    "022-parallel-rag-search": {"query": "What is tea?"},
    "023-content-moderation-router": {"content": "hello"},
    "025-sentiment-analysis": {"text": "hello"},
    "027-sentiment-analysis": {"input": "hello"},
    "029-simple-workflow": {"name": "Ann"},
}

NEED_A_STORE = ("002-rag-qa-pipeline", "022-parallel-rag-search")
"""They search Pinecone, which only ``offline`` replaces."""

KEYS = {"access_key_id": "any-key-id", "secret_access_key": "any-secret-key"}


@pytest.fixture(scope="module")
def s3() -> Iterator[AwsAccess]:
    """Start an object storage with the buckets of 009."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
    )
    for bucket in ("documents", "summaries"):
        client.create_bucket(Bucket=bucket)
    for name in ("one", "two"):
        client.put_object(Bucket="documents", Key=f"pending/{name}.txt", Body=name.encode())
    yield AwsAccess.model_validate({"endpoint_url": url, "region": "us-east-1", **KEYS})
    # All servers of a process share what they hold.
    httpx.post(f"{url}/moto-api/reset").raise_for_status()
    client.close()
    server.stop()


@pytest.fixture
def settings(tmp_path: Path, s3: AwsAccess, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return Settings(outbox=tmp_path / "outbox", metrics=tmp_path / "metrics", storage=Storage(s3=s3))


async def run(path: Path, settings: Settings, **options: Any) -> RunResult:
    result = read_file(path)
    assert result.errors == ()
    [workflow] = result.workflows
    assert {*to_dag(workflow).task_dict} >= {step.task_id for step in workflow.steps}
    async with Runtime(settings=settings, **options) as runtime:
        return await run_workflow(workflow, INPUTS[path.stem], runtime)


def test_every_file_is_here(corpus: Path) -> None:
    assert {path.stem for path in (corpus / "workflows").glob("*.yaml")} == {*INPUTS}


@pytest.mark.parametrize("name", INPUTS)
async def test_offline(corpus: Path, settings: Settings, name: str) -> None:
    result = await run(corpus / "workflows" / f"{name}.yaml", settings, offline=True)
    assert result.state == "completed", result.error
    assert all(event.state == "completed" or event.error for event in result.events)


@pytest.mark.parametrize("name", [name for name in INPUTS if name not in NEED_A_STORE])
async def test_over_the_wire(corpus: Path, settings: Settings, name: str) -> None:
    with SimulatorServer() as simulator:
        urls = {"openai": simulator.openai_base_url, "anthropic": simulator.anthropic_base_url}

        def credentials(provider: str, connection: str | None) -> Credentials:
            return Credentials(base_url=urls[provider], api_key="simulator")

        result = await run(corpus / "workflows" / f"{name}.yaml", settings, credentials=credentials)
    assert result.state == "completed", result.error


async def test_what_they_give(corpus: Path, settings: Settings) -> None:
    folder = corpus / "workflows"
    transformed = await run(folder / "005-transform-workflow.yaml", settings)
    assert transformed.steps["filter_data"].outputs == {"filtered": [{"status": "active"}]}
    evaluated = await run(folder / "008-llm-pipeline-with-eval.yaml", settings, offline=True)
    assert evaluated.steps["evaluate"].outputs["passed"] is False
    assert evaluated.outputs["used_fallback"] is True
    summarized = await run(folder / "009-daily-batch-summarization.yaml", settings, offline=True)
    assert len(summarized.steps["process_documents"].outputs["summaries"]) == 2
    compared = await run(folder / "011-multi-model-comparison.yaml", settings, offline=True)
    assert compared.outputs["comparison_result"].startswith("## Claude\n\n")
    searched = await run(folder / "022-parallel-rag-search.yaml", settings, offline=True)
    assert searched.steps["parallel_search"].outputs == {"output": {"search_docs": [], "search_code": []}}
