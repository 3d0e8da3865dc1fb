"""What ``orchestrator.yaml`` says of who may do what: the section ``security``."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import Duration, FilePath, Section

__all__ = ["Audit", "Authentication", "Authorization", "Security", "new_fernet_key"]


class Authentication(Section):
    """Who comes in: section ``security.authentication``.

    Attributes:
        enabled: Whether users are asked who they are. Without it, whoever reaches the server may do everything.
        provider: By what people and programs prove who they are.
        jwt_secret: What tokens are signed with; a secret, and the same in all processes of one system. In the mode standalone it is
            made and kept in the home.
        jwt_expiry: Seconds that a login is good for.
        admin_password: The password of the user ``admin``; a secret. By default one is made and kept in the home: where several
            API servers are, each would make its own.
    """

    enabled: bool = True
    provider: Literal["jwt", "oauth2", "api-key"] = "jwt"
    jwt_secret: SecretStr | None = None
    jwt_expiry: Annotated[Duration, Field(ge=1)] = 86400.0
    admin_password: SecretStr | None = None


class Authorization(Section):
    """Who may do what: section ``security.authorization``.

    Attributes:
        enabled: Whether users have different rights.
        policy_file: File with the roles, and who has which.
    """

    enabled: bool = False
    policy_file: FilePath | None = None


class Audit(Section):
    """What is written down of who did what: section ``security.audit``.

    Attributes:
        enabled: Whether it is written down who did what.
        level: How much is written down of what somebody did.
        storage: Where it is written down who did what.
    """

    enabled: bool = False
    level: Literal["minimal", "standard", "full"] = "standard"
    storage: Literal["database", "file"] = "database"


class Security(Section):
    """Section ``security``.

    Attributes:
        authentication: Who comes in.
        authorization: Who may do what.
        audit: What is written down.
        fernet_key: What connections and variables are encrypted with in the database: 32 bytes in URL-safe base64; a secret, and
            the same in all processes. In the mode standalone it is made and kept in the home.
        session_key: What sessions of the pages are signed with; a secret, and the same in all API servers. Made in the mode
            standalone.
    """

    authentication: Authentication = Authentication()
    authorization: Authorization = Authorization()
    audit: Audit = Audit()
    fernet_key: SecretStr | None = None
    session_key: SecretStr | None = None

    @model_validator(mode="after")
    def _is_a_key(self) -> Self:
        if self.fernet_key is not None and not _is_fernet_key(self.fernet_key):
            raise ValueError(
                "'fernet_key' is not 32 bytes in URL-safe base64; make one with: openssl rand -base64 32 | tr '+/' '-_'"
            )
        return self


def new_fernet_key() -> str:
    """Make a key to encrypt with: 32 bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _is_fernet_key(secret: SecretStr) -> bool:
    # Several may stand there, the newest first, while old values are still encrypted with an older one.
    for key in secret.get_secret_value().split(","):
        try:
            if len(base64.urlsafe_b64decode(key.strip())) != 32:
                return False
        except (binascii.Error, ValueError):
            return False
    return True
