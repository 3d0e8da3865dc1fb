"""The section ``cache`` of ``orchestrator.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import Duration, Section

__all__ = ["CacheSettings"]


class CacheSettings(Section):
    """Where answers are kept that may be given again.

    Attributes:
        type: Whether answers are kept in each process, or in Redis.
        url: Address of the Redis, such as ``redis://host:6379/0``; a secret.
        pool_size: Most connections to the Redis from one process: so many for cached answers, and so many for what processes share.
        ttl: Seconds that an answer is good for, where its step does not say.
    """

    type: Literal["memory", "redis"] = "memory"
    url: SecretStr | None = None
    pool_size: int = Field(default=10, ge=1)
    ttl: Duration = 3600.0

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.type == "redis" and not (self.url and self.url.get_secret_value()):
            raise ValueError("type 'redis' needs 'url', such as redis://localhost:6379")
        if self.url and self.url.get_secret_value().partition("://")[0] not in ("redis", "rediss", "unix"):
            raise ValueError("'url' is of no known kind; write one that begins with redis:// or rediss://")
        return self
