"""URLs of object storage."""

from __future__ import annotations

import pytest

from airflow_llm_provider.clients.objects import ObjectUrl
from airflow_llm_provider.errors import InvalidRequest
from dag_factory import read_text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("docs/pending", "write 's3://docs/pending' for a bucket, or 'file:///docs/pending' for a folder"),
        ("", "'' is no URL; write 's3://folder'"),
        ("https://example.com/a", "use the executor 'http:request' for it"),
        ("sftp://me:password@host/a", "put credentials into 'storage' of orchestrator.yaml"),
        ("zip://a::s3://b", "the URL holds '::' or a control character"),
        ("s3://a\nb", "the URL holds '::' or a control character"),
        ("s3:///", "names no bucket or folder"),
        ("file://data/a", "is no absolute path; write 'file:///data/a'"),
    ],
)
def test_what_is_no_url_of_an_object(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ObjectUrl.parse(text)
    assert error in str(caught.value)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/a b", ObjectUrl("s3", "bucket/a b")),
        ("s3a://bucket", ObjectUrl("s3", "bucket")),
        ("file:///data/a", ObjectUrl("file", "/data/a")),
        (
            "abfs://container@account.dfs.core.windows.net/a",
            ObjectUrl("abfs", "container@account.dfs.core.windows.net/a"),
        ),
    ],
)
def test_urls(text: str, url: ObjectUrl) -> None:
    assert ObjectUrl.parse(text) == url


@pytest.mark.parametrize("bucket", ["s3://bucket/out", "s3://bucket/out/"])
def test_a_key_stays_below_its_folder(bucket: str) -> None:
    folder = ObjectUrl.parse(bucket)
    assert str(folder.below("/a/b.json")) == "s3://bucket/out/a/b.json"
    assert str(folder.below("a..b")) == "s3://bucket/out/a..b"
    for key in ("../a", "a/../../b", "/", "a/.."):
        with pytest.raises(InvalidRequest, match="is no key of an object below s3://bucket/out"):
            folder.below(key)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ('type: "storage:s3-list", bucket: docs/pending', "w.yaml:3:46: 'bucket': 'docs/pending' is no URL; write"),
        ('type: "storage:s3-upload", data: 1', "give exactly one of 'url' and 'bucket'"),
        ('type: "storage:s3-upload", data: 1, url: "s3://a/b", key: c', "'key' needs 'bucket'"),
        ('type: "storage:s3-download", url: "s3://a/b", format: yaml', "expected one of text, json, base64"),
    ],
)
def test_mistakes_are_found_while_reading(step: str, error: str) -> None:
    [found] = read_text("w.yaml", f"name: x\nsteps:\n  - {{id: a, {step}}}\n").errors
    assert error in str(found)
