"""Storage executors, against real folders and a real S3 wire."""

from __future__ import annotations

import base64
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from airflow_llm_provider.clients.base import ConnectionFields
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.config.targets import AwsAccess, Storage
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from dag_factory import read_file, read_text

KEYS = {"access_key_id": "any-key-id", "secret_access_key": "any-secret-key"}


@pytest.fixture(autouse=True)
def _no_credentials_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
    )
    for bucket in ("documents", "summaries"):
        client.create_bucket(Bucket=bucket)
    yield client
    client.close()
    httpx.post(f"{endpoint}/moto-api/reset").raise_for_status()


def settings_of(endpoint: str, **options: Any) -> Settings:
    s3 = AwsAccess.model_validate({"endpoint_url": endpoint, "region": "us-east-1", **KEYS, **options})
    return Settings(storage=Storage(s3=s3))


async def run(text: str, settings: Settings | None = None, **inputs: object) -> RunResult:
    result = read_text("w.yaml", text)
    assert not result.errors, "\n".join(map(str, result.errors))
    async with Runtime(settings=settings) as runtime:
        return await run_workflow(result.workflows[0], inputs, runtime)


def step(executor: str, **inputs: str) -> str:
    keys = "".join(f"    {name}: {value}\n" for name, value in inputs.items())
    return f"name: x\nsteps:\n  - id: a\n    type: {executor}\n    retry: {{max_attempts: 1}}\n{keys}"


LIST = step("storage:s3-list", bucket="s3://documents/pending", output="[documents, count, truncated]")


async def test_a_bucket_is_listed_below_its_folder_over_all_pages(
    endpoint: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    for number in range(7):
        s3.put_object(Bucket="documents", Key=f"pending/{number}.txt", Body=b"")
    s3.put_object(Bucket="documents", Key="pending/", Body=b"")
    s3.put_object(Bucket="documents", Key="pending-old/1.txt", Body=b"")
    every = [f"s3://documents/pending/{number}.txt" for number in range(7)]
    result = await run(LIST, settings_of(endpoint))
    assert result.steps["a"].outputs == {"documents": every, "count": 7, "truncated": False}
    result = await run(LIST + "    max_items: 5\n", settings_of(endpoint))
    assert result.steps["a"].outputs == {"documents": every[:5], "count": 5, "truncated": True}


async def test_content_comes_along(endpoint: str, s3: Any) -> None:
    s3.put_object(Bucket="documents", Key="pending/de/1.md", Body="Grüße".encode())
    s3.put_object(Bucket="documents", Key="pending/de/2.png", Body=b"\xff\xd8")
    text = LIST + "    include_content: true\n"
    result = await run(text + "    pattern: '*.md'\n", settings_of(endpoint))
    assert result.steps["a"].outputs["documents"] == [
        {"url": "s3://documents/pending/de/1.md", "size": 7, "content": "Grüße"}
    ]
    assert (await run(text, settings_of(endpoint))).error == (
        "a: InvalidOutput: s3://documents/pending/de/2.png is no text in UTF-8 (byte 0); leave it out with 'pattern'"
    )
    assert (await run(text + "    max_bytes: 8\n", settings_of(endpoint))).error == (
        "a: InvalidRequest: the 2 objects have 9 bytes together, and 'max_bytes' allows 8; "
        "choose fewer with 'prefix', 'pattern' or 'max_items'"
    )


async def test_what_is_uploaded_can_be_downloaded(endpoint: str, s3: Any) -> None:
    text = """
name: x
steps:
  - {id: up, type: "storage:s3-upload", url: "s3://summaries/all 1.json", data: {größe: [1, null]}, output: [url, size]}
  - {id: down, type: "storage:s3-download", url: "{{ steps.up.url }}", format: json, output: [content, size, url]}
"""
    result = await run(text, settings_of(endpoint))
    assert result.steps["up"].outputs == {"url": "s3://summaries/all 1.json", "size": 22}
    assert result.steps["down"].outputs == {
        "content": {"größe": [1, None]},
        "size": 22,
        "url": "s3://summaries/all 1.json",
    }
    head = s3.head_object(Bucket="summaries", Key="all 1.json")
    assert head["ContentType"] == "application/json"


@pytest.mark.parametrize(
    ("given", "media_type"),
    [({}, "text/plain; charset=utf-8"), ({"content_type": "text/markdown"}, "text/markdown")],
)
async def test_the_media_type(endpoint: str, s3: Any, given: dict[str, str], media_type: str) -> None:
    upload = step("storage:s3-upload", bucket="s3://summaries", key="notes.md", data="'# Notes'", **given)
    assert (await run(upload, settings_of(endpoint))).state == "completed"
    stored = s3.get_object(Bucket="summaries", Key="notes.md")
    assert (stored["ContentType"], stored["Body"].read()) == (media_type, b"# Notes")


async def test_the_published_batch_reads_and_writes_its_buckets(corpus: Path, endpoint: str, s3: Any) -> None:
    """The tasks of the published workflow that are about storage, word for word."""
    [workflow] = read_file(corpus / "workflows" / "009-daily-batch-summarization.yaml").workflows
    tasks = {task.id: task.inputs for task in workflow.steps}
    s3.put_object(Bucket="documents", Key="pending/1.txt", Body=b"one")
    text = f"""
apiVersion: orchestrator.llm/v1
kind: Workflow
metadata: {{name: x}}
spec:
  inputs: [{{name: source_bucket, type: string, default: "s3://documents/pending"}}]
  tasks:
    - id: fetch_documents
      type: custom
      executor: storage:s3-list
      inputs: {{bucket: "{tasks["fetch_documents"]["bucket"]}"}}
      outputs: {{documents: array}}
    - id: aggregate_results
      type: custom
      executor: storage:s3-upload
      inputs:
        bucket: {tasks["aggregate_results"]["bucket"]}
        data: ${{{{ tasks.fetch_documents.outputs.documents }}}}
"""
    result = await run(text, settings_of(endpoint))
    assert result.error is None
    [stored] = s3.list_objects_v2(Bucket="summaries")["Contents"]
    assert stored["Key"].startswith("output/")
    assert stored["Key"].endswith("/aggregate_results.json")
    body = s3.get_object(Bucket="summaries", Key=stored["Key"])["Body"].read()
    assert body == b'["s3://documents/pending/1.txt"]'


async def test_a_key_that_is_not_given_is_the_same_in_every_run_of_that_id(tmp_path: Path) -> None:
    text = f"""
name: x
steps:
  - id: a
    type: orchestrator:fan-out
    items: [1, 2]
    task_template:
      id: up
      type: storage:s3-upload
      bucket: file://{tmp_path}/out
      data: "{{{{ item }}}} as text"
"""
    workflow = read_text("w.yaml", text).workflows[0]
    for _ in range(2):
        async with Runtime() as runtime:
            result = await run_workflow(workflow, {}, runtime, run_id="manual__2026-01-01T00:00:00+00:00/1")
        assert result.error is None
    folder = tmp_path / "out" / "manual__2026-01-01T00:00:00+00:00%2F1"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a[0].txt": "1 as text",
        "a[1].txt": "2 as text",
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            step("storage:s3-download", url="s3://documents/none"),
            "InvalidRequest: s3://documents/none: 404 NoSuchKey: The specified key does not exist.",
        ),
        (
            step("storage:s3-list", bucket="s3://no-such-bucket"),
            "InvalidRequest: s3://no-such-bucket: 404 NoSuchBucket: The specified bucket does not exist",
        ),
        (
            step("storage:s3-download", url="s3://documents"),
            "InvalidRequest: s3://documents names no object; write s3://<bucket>/<key>",
        ),
        (
            step("storage:s3-upload", bucket="s3://documents/out", key="../in", data="1"),
            "InvalidRequest: '../in' is no key of an object below s3://documents/out; write one without '..'",
        ),
        (
            step("storage:s3-download", url="s3://documents/five", max_bytes="4"),
            "InvalidRequest: s3://documents/five has 5 bytes, and 'max_bytes' allows 4; allow more, or pick a smaller object",
        ),
        (
            step("storage:s3-download", url="s3://documents/five", format="json"),
            "InvalidOutput: s3://documents/five is no JSON: Expecting value: line 1 column 1 (char 0)",
        ),
        (
            step("storage:s3-list", bucket="s3://UPPER_case!"),
            "InvalidRequest: s3://UPPER_case!: Parameter validation failed",
        ),
    ],
)
async def test_what_s3_refuses(endpoint: str, s3: Any, text: str, error: str) -> None:
    s3.put_object(Bucket="documents", Key="five", Body=b"five!")
    result = await run(text, settings_of(endpoint))
    assert result.error is not None
    assert result.error.startswith(f"a: {error}")


async def test_bytes_come_as_base64(endpoint: str, s3: Any) -> None:
    s3.put_object(Bucket="documents", Key="photo", Body=b"\xff\xd8")
    text = step("storage:s3-download", url="s3://documents/photo", format="base64")
    assert (await run(text, settings_of(endpoint))).steps["a"].outputs == {
        "output": base64.b64encode(b"\xff\xd8").decode()
    }


async def test_wrong_keys_are_refused_and_not_shown(endpoint: str, s3: Any) -> None:
    with ThreadedAnswer(
        b"HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n"
        b"<Error><Code>SignatureDoesNotMatch</Code><Message>not any-secret-key</Message></Error>"
    ) as address:
        result = await run(step("storage:s3-download", url="s3://documents/x"), settings_of(address))
    assert result.error == "a: AuthenticationError: s3://documents/x: 403 SignatureDoesNotMatch: not ***"
    assert result.steps["a"].attempts == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("503 Slow Down", "SlowDown", "RateLimitError"),
        ("500 Internal", "InternalError", "ServiceUnavailable"),
        ("400 Bad", "ExpiredToken", "AuthenticationError"),
        ("429 Too Many", "TooMany", "RateLimitError"),
    ],
)
async def test_what_a_store_answers_has_a_class(status: str, code: str, kind: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    answer = f"HTTP/1.1 {status}\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n{body}"
    with ThreadedAnswer(answer.encode()) as address:
        result = await run(step("storage:s3-download", url="s3://documents/x"), settings_of(address))
    assert result.error is not None
    assert result.error.startswith(f"a: {kind}: s3://documents/x")


async def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings = settings_of(f"http://127.0.0.1:{taken.getsockname()[1]}")
        result = await run(step("storage:s3-list", bucket="s3://documents"), settings)
    assert result.error is not None
    assert result.error.startswith("a: ConnectionError: s3://documents: the connection failed (EndpointConnectionError")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"access_key_id": None, "secret_access_key": None}, "s3://documents/x: Unable to locate credentials; set"),
        ({"profile": "nobody"}, "s3: The config profile (nobody) could not be found; set storage.s3"),
        ({"endpoint_url": "http://no where"}, "s3: ValueError: Invalid endpoint: http://no where"),
    ],
)
async def test_settings_that_lead_nowhere(endpoint: str, options: dict[str, Any], error: str) -> None:
    result = await run(step("storage:s3-download", url="s3://documents/x"), settings_of(endpoint, **options))
    assert result.error is not None
    assert result.error.startswith(f"a: ConfigurationError: {error}")


async def test_a_connection_takes_the_place_of_the_settings(endpoint: str, s3: Any) -> None:
    s3.put_object(Bucket="documents", Key="a", Body=b"found")
    found = {
        "my_aws": ConnectionFields(None, "key-id", "key", {"endpoint_url": endpoint, "region_name": "us-east-1"}),
        "half": ConnectionFields(None, "key-id"),
        "role": ConnectionFields(extra={"role_arn": "arn:aws:iam::1:role/x"}),
    }
    text = step("storage:s3-download", url="s3://documents/a", connection="'{{ inputs.connection }}'")
    workflow = read_text("w.yaml", text).workflows[0]
    answers = {}
    for name in found:
        async with Runtime(settings=settings_of("http://127.0.0.1:1")) as runtime:
            runtime.find_connection = found.__getitem__
            result = await run_workflow(workflow, {"connection": name}, runtime)
            answers[name] = result.error or result.steps["a"].outputs["output"]
    assert answers == {
        "my_aws": "found",
        "half": "a: ConfigurationError: the connection cannot be used for s3://: Value error, give 'access_key_id' and "
        "'secret_access_key' together, or neither",
        "role": "a: ConfigurationError: the connection's 'role_arn' is not followed; "
        "name a profile that does with 'profile_name'",
    }


async def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    result = await run(step("storage:s3-list", bucket="s3://documents"))
    assert result.error == (
        "a: ConfigurationError: the package 'boto3' is not installed; "
        "install it with pip install 'airflow-llm-provider[aws]'"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "sub/c.txt", "sub/d.md"):
        path = tmp_path / "in #1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "in #1" / ".0123.part").write_text("half")
    return tmp_path / "in #1"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["a.txt", "b.txt", "sub/c.txt", "sub/d.md"]),
        ({"pattern": "'*.txt'"}, ["a.txt", "b.txt", "sub/c.txt"]),
        ({"pattern": "sub/*"}, ["sub/c.txt", "sub/d.md"]),
        ({"prefix": "s"}, ["sub/c.txt", "sub/d.md"]),
        ({"max_items": "1"}, ["a.txt"]),
        ({"prefix": "none"}, []),
    ],
)
async def test_a_folder_is_listed(folder: Path, given: dict[str, str], names: list[str]) -> None:
    text = step("storage:s3-list", bucket=f"'file://{folder}'", output="[documents, count]", **given)
    outputs = (await run(text)).steps["a"].outputs
    assert outputs == {"documents": [f"file://{folder}/{name}" for name in names], "count": len(names)}


async def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.json"
    upload = step("storage:s3-upload", url=f"file://{path}", data="[1, 2]")
    assert (await run(upload)).steps["a"].outputs == {"output": f"file://{path}"}
    before = path.open()
    assert (await run(upload.replace("[1, 2]", "[3]"))).state == "completed"
    # Whoever had opened it reads on in what it was.
    with before:
        assert before.read() == "[1, 2]"
    assert [(item.name, item.read_text()) for item in path.parent.iterdir()] == [("out.json", "[3]")]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (step("storage:s3-list", bucket="file:///no/such/folder"), "file:///no/such/folder is no folder"),
        (step("storage:s3-download", url="file:///no/such/file"), "file:///no/such/file does not exist"),
        (step("storage:s3-download", url="file:///"), "the step's inputs do not fit"),
        (step("storage:s3-download", url="file:///etc"), "file:///etc cannot be used: Is a directory"),
        (step("storage:s3-upload", url="file:///etc", data="1"), "file:///etc cannot be used: Is a directory"),
        (
            step("storage:s3-upload", url="file:///etc/hostname/x", data="1"),
            "file:///etc/hostname/x cannot be used: ",
        ),
        (step("storage:s3-download", url="gx://a/b"), "no file system has the scheme 'gx'; "),
    ],
)
async def test_what_a_file_system_refuses(text: str, error: str) -> None:
    workflow = read_text("w.yaml", text.replace("url: file:///\n", "url: '{{ inputs.url }}'\n")).workflows[0]
    async with Runtime() as runtime:
        result = await run_workflow(workflow, {"url": "file:///"}, runtime)
    assert result.error is not None
    assert result.error.startswith(f"a: InvalidRequest: {error}")


async def test_memory_is_a_store_as_well() -> None:
    text = """
name: x
steps:
  - {id: up, type: "storage:s3-upload", bucket: "memory://box/a", key: b.txt, data: hello}
  - {id: list, type: "storage:s3-list", bucket: "memory://box/a", depends_on: [up]}
  - {id: down, type: "storage:s3-download", url: "${{ steps.list.output[0] }}"}
"""
    result = await run(text)
    assert result.steps["list"].outputs == {"output": ["memory:///box/a/b.txt"]}
    assert result.steps["down"].outputs == {"output": "hello"}


async def test_a_scheme_whose_package_is_missing() -> None:
    result = await run(step("storage:s3-list", bucket="gs://documents"))
    assert result.error == (
        "a: ConfigurationError: objects of gs:// need a further package: Please install gcsfs to access Google Storage"
    )


async def test_options_that_do_not_fit_are_not_shown() -> None:
    settings = Settings(storage=Storage(options={"zip": {"fo": "/any-secret.zip"}}))
    result = await run(step("storage:s3-list", bucket="zip://documents"), settings)
    assert result.error == (
        "a: ConfigurationError: zip:// cannot be reached with storage.options.zip of orchestrator.yaml (FileNotFoundError)"
    )


class ThreadedAnswer:
    """Gives every caller the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(65536) == b"stop":
                    return
                connection.sendall(self._answer)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        with socket.create_connection(self._socket.getsockname()) as last:
            last.sendall(b"stop")
        self._thread.join()
        self._socket.close()


async def test_the_embedded_vector_store_in_a_bucket(s3: Any, endpoint: str) -> None:
    from airflow_llm_provider.clients.base import Credentials
    from airflow_llm_provider.stores import vector_store
    from airflow_llm_provider.stores.base import Item

    s3.create_bucket(Bucket="vectors")
    options = {
        "path": "s3://vectors/deep/v.sqlite",
        "login": "id",
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
    }
    stores = [vector_store("local", lambda: Credentials(api_key="secret-key", options=options)) for _ in range(2)]
    assert await stores[0].count("i") == 0
    await stores[0].upsert("i", [Item("a", [1.0, 0.0]), Item("b", [0.0, 1.0])])
    assert [found.id for found in await stores[1].search("i", [0, 2], top_k=1)] == ["b"]
    for store in stores:
        await store.aclose()
