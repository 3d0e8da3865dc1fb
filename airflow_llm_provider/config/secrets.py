"""Which keys of ``orchestrator.yaml`` hold secrets, and which secrets a model holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, SecretStr

from airflow_llm_provider.config.airflow_options import is_secret_option
from airflow_llm_provider.files.fields import alternatives, fields_of, values_of
from airflow_llm_provider.workflow.model import DocumentPath

__all__ = ["Hidden", "holds_secrets", "is_open", "is_secret", "is_secret_at", "leaves_of", "secrets_of"]


@dataclass(frozen=True)
class Hidden:
    """Marks a type whose values hold secrets, wherever in them."""


def is_secret(kind: Any) -> bool:
    """Tell whether a value of a type is a secret as a whole.

    Args:
        kind: The type.
    """
    if get_origin(kind) is Annotated and Hidden() in get_args(kind)[1:]:
        return True
    members = [*alternatives(kind)]
    return bool(members) and all(isinstance(each, type) and issubclass(each, SecretStr) for each in members)


def is_secret_at(kind: Any, key: DocumentPath) -> bool:
    """Tell whether the value of a key is a secret as a whole.

    Args:
        kind: The key's type.
        key: The way to it; an Airflow option tells by its name.
    """
    return is_secret(kind) or (len(key) == 3 and key[0] == "airflow" and is_secret_option(str(key[2])))


def holds_secrets(kind: Any) -> bool:
    """Tell whether a value of a type may be a secret, or have one anywhere.

    Args:
        kind: The type.
    """
    if is_secret(kind) or SecretStr in alternatives(kind):
        return True
    inner = values_of(kind)
    below = (fields_of(kind) or {}).values()
    return (inner is not None and inner is not Any and holds_secrets(inner)) or any(map(holds_secrets, below))


def is_open(kind: Any) -> bool:
    """Tell whether values of a type may be shown: it is a text, or what holds texts, and none of them can be a secret.

    Args:
        kind: The type.
    """
    if is_secret(kind) or fields_of(kind) is not None:
        return False
    inner = values_of(kind)
    return SecretStr not in alternatives(kind) if inner is None else is_open(inner)


def leaves_of(value: Any) -> Iterator[Any]:
    """Give all single values that a model holds, wherever.

    Args:
        value: A model, or what is in one.
    """
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from leaves_of(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from leaves_of(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from leaves_of(item)
    else:
        yield value


def secrets_of(value: Any) -> Iterator[str]:
    """Give all secrets that a model holds, wherever.

    Args:
        value: A model, or what is in one.
    """
    return (leaf.get_secret_value() for leaf in leaves_of(value) if isinstance(leaf, SecretStr))
