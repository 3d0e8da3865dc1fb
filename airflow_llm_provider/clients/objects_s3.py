"""``s3://`` through boto3; for AWS, and for whatever else speaks S3's API at an endpoint of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from airflow_llm_provider.clients.failures import failure, redact
from airflow_llm_provider.clients.objects import ObjectUrl, StoredObject, missing_package, too_large
from airflow_llm_provider.config.targets import S3Storage
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    InvalidRequest,
    RateLimitError,
    TimeoutError,
)

__all__ = ["S3Store"]

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0

_REFUSED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
"""Error codes that are about the credentials; some come with a status of 400."""

_TOO_OFTEN = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"})


class S3Store:
    """One S3 API with one set of credentials.

    Args:
        options: How to reach it.

    Raises:
        ConfigurationError: boto3 is not installed, or the options cannot be used.
    """

    def __init__(self, options: S3Storage) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise missing_package("aws", "boto3") from None
        keys = (options.access_key_id, options.secret_access_key, options.session_token)
        key_id, key, token = (secret.get_secret_value() if secret else None for secret in keys)
        self._secrets = tuple(filter(None, (key, token)))
        with self._errors("s3"):
            session = boto3.Session(
                aws_access_key_id=key_id,
                aws_secret_access_key=key,
                aws_session_token=token,
                region_name=options.region,
                profile_name=options.profile,
            )
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                # The step's own rule says how often it is tried.
                retries={"total_max_attempts": 1},
                # Stores other than AWS do not know the newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            self._client: Any = session.client("s3", endpoint_url=options.endpoint_url, config=config)

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

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        from botocore import exceptions

        try:
            yield
        except exceptions.ClientError as error:
            told = error.response.get("Error", {})
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
            code = str(told.get("Code", ""))
            message = redact(f"{what}: {status} {code}: {told.get('Message', '')}", self._secrets)
            if code in _REFUSED:
                raise AuthenticationError(message, status=status) from None
            if code in _TOO_OFTEN:
                raise RateLimitError(message, status=status) from None
            if status < 500 and status not in (401, 403, 408, 429):
                raise InvalidRequest(message, status=status) from None
            raise failure(what, status, f"{code}: {told.get('Message', '')}", secrets=self._secrets) from None
        except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
            raise TimeoutError(f"{what}: no answer in time ({type(error).__name__})") from None
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.ProfileNotFound,
        ) as error:
            raise ConfigurationError(
                f"{what}: {redact(str(error), self._secrets)}; set storage.s3 in orchestrator.yaml, name an Airflow connection "
                "with 'connection', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError) as error:
            raise ConnectionError(
                f"{what}: the connection failed ({type(error).__name__}: {redact(str(error), self._secrets)[:500]})"
            ) from None
        except exceptions.ParamValidationError as error:
            raise InvalidRequest(f"{what}: {error}") from None
        except (exceptions.BotoCoreError, ValueError) as error:
            # boto3 itself says ValueError of an endpoint that is no URL.
            raise ConfigurationError(
                f"{what}: {type(error).__name__}: {redact(str(error), self._secrets)[:500]}"
            ) from None


def _place(url: ObjectUrl) -> tuple[str, str]:
    bucket, _, key = url.path.partition("/")
    if not bucket or not key or key.endswith("/"):
        raise InvalidRequest(f"{url} names no object; write s3://<bucket>/<key>")
    return bucket, key
