"""Airflow options that no key of ``orchestrator.yaml`` stands for, and which of them nobody may read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import SecretStr, WithJsonSchema

from airflow_llm_provider.config.addresses import holds_password

__all__ = ["AirflowOption", "AirflowOptions", "is_secret_option", "with_secrets_hidden"]

AirflowOption = Annotated[
    str | int | float | bool | SecretStr, WithJsonSchema({"type": ["string", "integer", "number", "boolean"]})
]
"""The value of an option."""

AirflowOptions = Mapping[str, Mapping[str, AirflowOption]]
"""Section to option to value."""

_SECRET = re.compile(
    r"(^|_)(password|passphrase|secret|token|dsn|api_key|secret_key|fernet_key|basic_auth|broker_url|result_backend"
    r"|sql_alchemy_conn(_async)?|engine_args|connect_args(_async)?|\w*kwargs)$"
)


def is_secret_option(name: str) -> bool:
    """Tell whether an option holds a secret, or an address with a password in it.

    Args:
        name: The option's name, whatever its section: those that Airflow's own ``config.yml`` calls sensitive, and what providers
            call alike.
    """
    return _SECRET.search(name.lower()) is not None


def with_secrets_hidden(options: AirflowOptions) -> AirflowOptions:
    """Give options with those that hold secrets, or an address with a password, as such.

    Args:
        options: The options.
    """
    return {
        section: {
            name: SecretStr(str(value)) if not isinstance(value, SecretStr) and _is_secret(name, value) else value
            for name, value in named.items()
        }
        for section, named in options.items()
    }


def _is_secret(name: str, value: object) -> bool:
    return is_secret_option(name) or holds_password(str(value))
