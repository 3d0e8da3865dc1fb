"""``local``: embeddings by a model of this machine, with the library sentence-transformers; nothing is sent, and nothing is paid.

The library takes seconds to import and the model to load, so a process does both once, and only when it embeds.
"""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from airflow_llm_provider.clients.base import Credentials, EmbeddingRequest, EmbeddingResponse, Usage
from airflow_llm_provider.errors import ConfigurationError, InvalidRequest, ModelNotFound

__all__ = ["LocalEmbeddings"]

_LOADING = threading.Lock()


class LocalEmbeddings:
    """Runs a model here.

    Args:
        credentials: ``options`` may hold ``device``: ``cpu`` or ``cuda``; what the library finds when absent.
        http: Not used.

    Raises:
        ConfigurationError: The library is not installed.
    """

    api_key_variable: ClassVar[None] = None
    base_url_variable: ClassVar[None] = None
    most_texts: ClassVar[int] = 64

    def __init__(self, credentials: Credentials, http: object = None) -> None:
        try:
            import sentence_transformers  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "the provider 'local' needs sentence-transformers; install airflow-llm-provider[local-embeddings]"
            ) from None
        self._device = credentials.options.get("device")

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Turn texts into vectors.

        Args:
            request: The texts; ``model`` is a folder with a model in it, or a name that the library knows and may fetch.

        Raises:
            ModelNotFound: There is no such model.
            InvalidRequest: The model has vectors of another length.
        """
        return await asyncio.to_thread(self._embed, request)

    def _embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        try:
            # Two that come at once would both load it.
            with _LOADING:
                model = _model(request.model, self._device)
        except (OSError, ValueError) as error:
            told = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise ModelNotFound(f"local: the model {request.model!r} cannot be loaded: {told}") from None
        prompt = {"query": "encode_query", "document": "encode_document"}[request.purpose]
        vectors = getattr(model, prompt, model.encode)(list(request.texts), show_progress_bar=False).tolist()
        if request.dimensions is not None and vectors and len(vectors[0]) != request.dimensions:
            raise InvalidRequest(
                f"local: the model {request.model!r} has vectors of {len(vectors[0])} numbers, and not {request.dimensions}; "
                "take 'dimensions' away"
            )
        tokens = sum(len(model.tokenizer(text)["input_ids"]) for text in request.texts)
        return EmbeddingResponse(tuple(vectors), request.model, Usage(tokens))

    async def aclose(self) -> None:
        """Nothing is open; the model stays for the next."""


@cache
def _model(name: str, device: str | None) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(Path(name).expanduser()) if "/" in name or name.startswith("~") else name, device=device
    )
