"""What the clients of AWS share: a boto3 client, and every way it can fail as a class of :mod:`airflow_llm_provider.errors`."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import ValidationError

from airflow_llm_provider.clients.base import ConnectionFields
from airflow_llm_provider.clients.failures import failure, is_too_long, redact, retry_after
from airflow_llm_provider.clients.packages import missing_package
from airflow_llm_provider.config.targets import AwsAccess
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    ContextLengthError,
    InvalidRequest,
    ModelNotFound,
    RateLimitError,
    ServiceUnavailable,
    StepError,
    TimeoutError,
)

__all__ = ["aws_access", "aws_client", "aws_errors", "aws_secrets"]

CONNECT_SECONDS = 10.0

_BY_CODE: dict[str, type[StepError]] = {
    **dict.fromkeys(
        (
            "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId",
            "InvalidSignatureException", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired",
            "UnrecognizedClientException",
        ),
        AuthenticationError,
    ),
    **dict.fromkeys(
        ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceQuotaExceededException"),
        RateLimitError,
    ),
    "ModelTimeoutException": TimeoutError,
    "ResourceNotFoundException": ModelNotFound,
    **dict.fromkeys(("ModelErrorException", "ModelNotReadyException", "ModelStreamErrorException"), ServiceUnavailable),
}  # fmt: skip
"""What a code means whatever its status; some that are about credentials come with 400."""


def aws_access(connection: ConnectionFields, what: str) -> AwsAccess:
    """Read an Airflow connection of the type ``aws``, or one with the same fields.

    Args:
        connection: Its fields.
        what: What it is to be used for, for messages.

    Raises:
        ConfigurationError: It cannot be used.
    """
    extra = connection.extra
    if extra.get("role_arn"):
        # Going on without the role would work with other rights than the connection means.
        raise ConfigurationError(
            "the connection's 'role_arn' is not followed; name a profile that does with 'profile_name'"
        )
    given = {
        "endpoint_url": extra.get("endpoint_url") or connection.host,
        "region": extra.get("region_name"),
        "access_key_id": connection.login or extra.get("aws_access_key_id"),
        "secret_access_key": connection.password or extra.get("aws_secret_access_key"),
        "session_token": extra.get("aws_session_token"),
        "profile": extra.get("profile_name"),
    }
    try:
        return AwsAccess(**given)
    except ValidationError as error:
        told = "; ".join(problem["msg"] for problem in error.errors(include_url=False, include_input=False))
        raise ConfigurationError(f"the connection cannot be used for {what}: {told}") from None


def aws_secrets(access: AwsAccess) -> tuple[str, ...]:
    """Give what must not appear in a message.

    Args:
        access: How AWS is reached.
    """
    keys = (access.secret_access_key, access.session_token)
    return tuple(key.get_secret_value() for key in keys if key is not None)


def aws_client(service: str, access: AwsAccess, *, read_seconds: float, connections: int = 10) -> Any:
    """Make a boto3 client that tries once; the step's own rule says how often something is tried.

    Args:
        service: AWS's name of the service.
        access: How to reach it.
        read_seconds: Longest wait between two bytes of an answer.
        connections: Most connections at once.

    Raises:
        ConfigurationError: boto3 is not installed.
        BotoCoreError: The settings cannot be used; :func:`aws_errors` knows of it.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise missing_package("aws", "boto3") from None
    keys = (access.access_key_id, access.secret_access_key, access.session_token)
    key_id, key, token = (secret.get_secret_value() if secret else None for secret in keys)
    session = boto3.Session(
        aws_access_key_id=key_id,
        aws_secret_access_key=key,
        aws_session_token=token,
        region_name=access.region,
        profile_name=access.profile,
    )
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1},
        # Stores other than AWS do not know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client(service, endpoint_url=access.endpoint_url, config=config)


@contextlib.contextmanager
def aws_errors(what: str, secrets: Collection[str], settings: str) -> Iterator[None]:
    """Turn what boto3 raises into the class that fits.

    Args:
        what: What is called, for messages.
        secrets: Must not appear in a message.
        settings: Where the credentials can be set, for the message when there are none.

    Raises:
        StepError: The class that fits the failure.
        ConfigurationError: The credentials or the settings are at fault.
    """
    from botocore import exceptions

    def told(error: Exception) -> str:
        return redact(str(error), secrets)[:500]

    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(what, error, secrets) from None
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
        raise TimeoutError(f"{what}: no answer in time ({type(error).__name__})") from None
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound,
    ) as error:
        raise ConfigurationError(
            f"{what}: {told(error)}; {settings}, name an Airflow connection with 'connection', or set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        ) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError) as error:
        raise ConnectionError(f"{what}: the connection failed ({type(error).__name__}: {told(error)})") from None
    except exceptions.ParamValidationError as error:
        raise InvalidRequest(f"{what}: {told(error)}") from None
    except (exceptions.BotoCoreError, ValueError) as error:
        # boto3 itself says ValueError of an endpoint that is no URL.
        raise ConfigurationError(f"{what}: {type(error).__name__}: {told(error)}") from None


def _refusal(what: str, error: Any, secrets: Collection[str]) -> StepError:
    told, answer = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    status, code, text = int(answer.get("HTTPStatusCode", 500)), str(told.get("Code", "")), str(told.get("Message", ""))
    kind = _BY_CODE.get(code)
    if kind is None and status < 500 and status not in (401, 403, 408, 429):
        kind = ContextLengthError if is_too_long(text) else InvalidRequest
    if kind is None:
        kind = type(failure(what, status, text))
    message = redact(f"{what}: {status} {code}: {text}", secrets)
    return kind(message, status=status, retry_after=retry_after(answer.get("HTTPHeaders") or {}))
