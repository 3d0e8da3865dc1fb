"""OpenAI's models on Azure: the same API at an address of one's own, with the key in another header.

Two forms of address exist. The older one names the deployment in the path and a version in the query; the newer one ends in
``/openai/v1`` and is like OpenAI's. Which of them is meant, the address tells.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

import httpx

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.clients.openai import OpenAIChat, OpenAIClient, OpenAIEmbeddings

__all__ = ["AzureChat", "AzureEmbeddings"]

API_VERSION = "2024-10-21"
"""Version of the older form where neither the address nor the connection names one: the last that is no preview."""


class AzureClient(OpenAIClient):
    """What the clients of Azure share; a step's ``model`` is the name of the deployment.

    Args:
        credentials: ``options`` may hold ``api_version``.
        http: See :class:`~airflow_llm_provider.clients.http.HttpClient`.
    """

    provider: ClassVar[str] = "azure"
    default_base_url: ClassVar[str] = "https://my-resource.openai.azure.com"
    has_one_address: ClassVar[bool] = False
    api_key_variable: ClassVar[str] = "AZURE_OPENAI_API_KEY"
    base_url_variable: ClassVar[str] = "AZURE_OPENAI_ENDPOINT"

    def __init__(self, credentials: Credentials, http: httpx.AsyncClient | None = None) -> None:
        super().__init__(credentials, http)
        self._deployments = not self._base_url.path.rstrip("/").endswith("/v1")
        if self._deployments and "api-version" not in self._base_url.params:
            version = str(credentials.options.get("api_version") or API_VERSION)
            self._base_url = self._base_url.copy_add_param("api-version", version)

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the headers that carry the key."""
        return {"api-key": key}

    def path(self, operation: str, model: str) -> str:
        """Give the path of an operation."""
        return f"/openai/deployments/{quote(model, safe='')}/{operation}" if self._deployments else f"/{operation}"


class AzureChat(AzureClient, OpenAIChat):
    """Chat completions on Azure."""


class AzureEmbeddings(AzureClient, OpenAIEmbeddings):
    """Embeddings on Azure."""
