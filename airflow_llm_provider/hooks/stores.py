"""Airflow connections to vector stores: one connection type a store; ``pgvector`` has Airflow's own of the type ``postgres``.

The password is the API key, the host the address; the extra's ``headers`` and ``options`` are passed on.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from airflow.sdk import BaseHook

from airflow_llm_provider.errors import LLMProviderError
from airflow_llm_provider.hooks.llm import connection_credentials
from airflow_llm_provider.stores import vector_store
from airflow_llm_provider.stores.base import VectorStore

__all__ = ["PineconeHook", "QdrantHook", "VectorStoreHook", "WeaviateHook"]


class VectorStoreHook(BaseHook):
    """Base of the stores' hooks.

    Args:
        conn_id: The connection; the store's default when None.

    Attributes:
        store: The store's name, as workflow files use it.
    """

    store: ClassVar[str]
    conn_name_attr = "conn_id"
    default_conn_name: ClassVar[str]

    def __init__(self, conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id or self.default_conn_name

    def get_conn(self) -> VectorStore:
        """Give the store; close it with its ``aclose``."""
        return vector_store(self.store, lambda: connection_credentials(self.get_connection(self.conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Look for an index, whether there is one or not, as the connection form's Test button does.

        Returns:
            Whether the store answered, and a message for the form.
        """

        async def ask() -> None:
            store = self.get_conn()
            try:
                await store.count("connection-test")
            finally:
                await store.aclose()

        try:
            asyncio.run(ask())
        except LLMProviderError as error:
            return False, f"{type(error).__name__}: {error}"
        return True, f"{self.store} answered"


class QdrantHook(VectorStoreHook):
    """Qdrant."""

    store = "qdrant"
    conn_type = "llm_qdrant"
    hook_name = "Vectors: Qdrant"
    default_conn_name = "qdrant_default"


class PineconeHook(VectorStoreHook):
    """Pinecone."""

    store = "pinecone"
    conn_type = "llm_pinecone"
    hook_name = "Vectors: Pinecone"
    default_conn_name = "pinecone_default"


class WeaviateHook(VectorStoreHook):
    """Weaviate."""

    store = "weaviate"
    conn_type = "llm_weaviate"
    hook_name = "Vectors: Weaviate"
    default_conn_name = "weaviate_default"
