"""Vector stores, a module each; found through the entry point group ``airflow_llm_provider.vector_stores``.

To add one: write a class with the members of :class:`VectorStore` that takes :class:`Credentials`, with the class attributes
``api_key_variable`` and ``base_url_variable``, and register it in ``pyproject.toml``. Importing this package loads no client.
"""

from __future__ import annotations

from collections.abc import Callable

from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.registry import Registry
from airflow_llm_provider.stores.base import VectorStore

__all__ = ["is_store", "known_stores", "store_credentials", "vector_store"]

_STORES = Registry("airflow_llm_provider.vector_stores", "vector store")


def known_stores() -> list[str]:
    """Give the names that a workflow file may use, sorted."""
    return _STORES.names()


def is_store(name: str) -> bool:
    """Tell whether a client for that store is installed."""
    return name in _STORES


def vector_store(name: str, credentials: Callable[[], Credentials] = Credentials) -> VectorStore:
    """Give a store.

    Args:
        name: The store's name.
        credentials: Finds how to reach it; called only for a store that is installed.

    Raises:
        ConfigurationError: The store is unknown, what its client needs is not installed, or its credentials lack something.
    """
    store: VectorStore = _STORES.find(name)(credentials())
    return store


def store_credentials(name: str) -> Credentials:
    """Give what the store's usual environment variables say.

    Args:
        name: The store's name.

    Raises:
        ConfigurationError: No client for it is installed.
    """
    store = _STORES.find(name)
    return Credentials.from_environment(base_url=store.base_url_variable, api_key=store.api_key_variable)
