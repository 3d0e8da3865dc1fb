"""``s3://`` through boto3; for AWS, and for whatever else speaks S3's API at an endpoint of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from airflow_llm_provider.clients.aws import aws_client, aws_errors, aws_secrets
from airflow_llm_provider.clients.objects import ObjectUrl, StoredObject, too_large
from airflow_llm_provider.config.targets import AwsAccess
from airflow_llm_provider.errors import InvalidRequest

__all__ = ["S3Store"]

READ_SECONDS = 60.0


class S3Store:
    """One S3 API with one set of credentials.

    Args:
        options: How to reach it.

    Raises:
        ConfigurationError: boto3 is not installed, or the options cannot be used.
    """

    def __init__(self, options: AwsAccess) -> None:
        self._secrets = aws_secrets(options)
        with self._errors("s3"):
            self._client: Any = aws_client("s3", options, read_seconds=READ_SECONDS)

    def objects(self, folder: ObjectUrl, prefix: str) -> Iterator[StoredObject]:
        """Give the objects below a folder; S3 lists them sorted, so only the pages that are asked for are read."""
        bucket, _, start = folder.folder.partition("/")
        with self._errors(f"s3://{bucket}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start + prefix):
                for item in page.get("Contents", ()):
                    # An empty object with this name is how consoles show a folder.
                    if not item["Key"].endswith("/"):
                        yield StoredObject(f"s3://{bucket}/{item['Key']}", item["Key"][len(start) :], item["Size"])

    def read(self, url: ObjectUrl, most: int) -> bytes:
        """Give an object's bytes."""
        bucket, key = _place(url)
        with self._errors(str(url)):
            answer = self._client.get_object(Bucket=bucket, Key=key)
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] > most:
                    raise too_large(url, most, answer["ContentLength"])
                data: bytes = body.read()
        return data

    def write(self, url: ObjectUrl, data: bytes, content_type: str) -> None:
        """Write an object; S3 shows it only when all of it has arrived."""
        bucket, key = _place(url)
        with self._errors(str(url)):
            self._client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return aws_errors(what, self._secrets, "set storage.s3 in orchestrator.yaml")


def _place(url: ObjectUrl) -> tuple[str, str]:
    bucket, _, key = url.path.partition("/")
    if not bucket or not key or key.endswith("/"):
        raise InvalidRequest(f"{url} names no object; write s3://<bucket>/<key>")
    return bucket, key
