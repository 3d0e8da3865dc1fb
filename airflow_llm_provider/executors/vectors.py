"""``vector_search``, ``vector_upsert`` and ``vector_delete``: what a workflow does with a vector store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.executors.llm import Text
from airflow_llm_provider.spelling import nothing_called
from airflow_llm_provider.stores import is_store, known_stores
from airflow_llm_provider.stores.base import Item, VectorStore
from airflow_llm_provider.stores.filters import parse_filter
from airflow_llm_provider.workflow.templates import is_template
from airflow_llm_provider.workflow.values import to_text

__all__ = [
    "VectorDelete",
    "VectorDeleteInputs",
    "VectorItem",
    "VectorSearch",
    "VectorSearchInputs",
    "VectorUpsert",
    "VectorUpsertInputs",
]


def _database(name: str) -> str:
    if not is_store(name):
        raise ValueError(nothing_called("vector store", name, known_stores()))
    return name


def _open(value: object) -> bool:
    return isinstance(value, str) and is_template(value)


def _filter(data: dict[str, Any]) -> dict[str, Any]:
    # Only what the file itself says can be judged here; what its templates give is looked at when the step runs.
    try:
        parse_filter(data, is_open=_open)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    return data


def _vector(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError("a vector is a list of numbers; give the output of an 'embed' step, which makes one of a text")
    return value


Number = Annotated[float, Field(allow_inf_nan=False)]

Vector = Annotated[list[Number], Field(min_length=1), BeforeValidator(_vector)]
"""A list of finite numbers."""

Identity = Annotated[str, Field(min_length=1), BeforeValidator(to_text)]
"""An item's id; a number is written as text."""

Conditions = Annotated[dict[str, Any], AfterValidator(_filter)]
"""A filter on metadata; see :mod:`airflow_llm_provider.stores.filters`."""


class StoreInputs(Inputs):
    """Where to look.

    Attributes:
        database: Which store: ``local``, or one whose client is installed.
        index: The index in it.
        namespace: The part of the index; the unnamed one when absent.
        connection: Airflow connection with the credentials; the store's default connection when absent.
    """

    database: Annotated[str, AfterValidator(_database)] = "local"
    index: str = Field(min_length=1)
    namespace: Text = ""
    connection: str | None = None

    def store(self, context: StepContext) -> VectorStore:
        """Give the store."""
        return context.runtime.store(context.runtime.database(self.database), connection=self.connection)


class VectorSearchInputs(StoreInputs):
    """What to look for.

    Attributes:
        query: The vector to be near to.
        top_k: Most results.
        filter: What the items' metadata must meet.
        include_metadata: Whether the results have their metadata.
        include_vectors: Whether the results have their vectors.
    """

    query: Vector
    top_k: int = Field(default=5, ge=1, le=100)
    filter: Conditions | None = None
    include_metadata: bool = True
    include_vectors: bool = False


class VectorSearch(Executor[VectorSearchInputs]):
    """The nearest items of an index, the best first."""

    outputs: ClassVar[tuple[str, ...]] = ("results", "metadata")
    Inputs = VectorSearchInputs

    async def run(self, inputs: VectorSearchInputs, context: StepContext) -> Mapping[str, Any]:
        """Search; an index that does not exist gives no results."""
        found = await inputs.store(context).search(
            inputs.index,
            inputs.query,
            top_k=inputs.top_k,
            filter=None if inputs.filter is None else parse_filter(inputs.filter),
            namespace=inputs.namespace,
            include_vectors=inputs.include_vectors,
        )
        results = [
            {
                "id": item.id,
                "score": item.score,
                "metadata": dict(item.metadata) if inputs.include_metadata else None,
                "vector": item.vector,
            }
            for item in found
        ]
        database = context.runtime.database(inputs.database)
        metadata = {"count": len(results), "top_k": inputs.top_k, "database": database, "index": inputs.index}
        return {"results": results, "metadata": metadata}


class VectorItem(BaseModel):
    """One vector to be kept.

    Attributes:
        id: Its id within index and namespace.
        vector: The vector.
        metadata: JSON values by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Identity
    vector: Vector
    metadata: dict[str, Any] | None = None


class VectorUpsertInputs(StoreInputs):
    """What to keep: ``items``, or ``vectors`` with lists of the same length beside it.

    Attributes:
        items: Objects of id, vector and metadata; may be called ``vectors`` too.
        vectors: The vectors.
        ids: Their ids; left out, an item's id is made of its text, so that the same text is kept once.
        texts: Their texts, kept as ``text`` of the metadata.
        metadata: Their metadata.
    """

    items: list[VectorItem] | None = None
    vectors: list[Vector] | None = None
    ids: list[Identity] | None = None
    texts: list[Text] | None = None
    metadata: list[dict[str, Any] | None] | None = None

    @model_validator(mode="before")
    @classmethod
    def _objects_are_items(cls, data: Any) -> Any:
        vectors = data.get("vectors") if isinstance(data, dict) else None
        if "items" not in data and isinstance(vectors, list) and vectors and isinstance(vectors[0], dict):
            return {**{name: value for name, value in data.items() if name != "vectors"}, "items": vectors}
        return data

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.items is None) == (self.vectors is None):
            raise ValueError("give exactly one of 'items' and 'vectors'")
        beside = {"ids": self.ids, "texts": self.texts, "metadata": self.metadata}
        for name, values in beside.items():
            if values is None:
                continue
            if self.vectors is None:
                raise ValueError(f"{name!r} stands beside 'vectors'; 'items' have it in each item")
            if len(values) != len(self.vectors):
                raise ValueError(
                    f"there are {len(self.vectors)} 'vectors' but {len(values)} {name!r}; each needs its own"
                )
        if self.vectors is not None and self.ids is None and self.texts is None:
            raise ValueError("'vectors' need 'ids', or 'texts' to make them of")
        return self

    def stored(self) -> list[Item]:
        """Give the items in the stores' form."""
        if self.items is not None:
            return [Item(item.id, item.vector, item.metadata or {}) for item in self.items]
        items = []
        for place, vector in enumerate(self.vectors or ()):
            metadata = dict((self.metadata[place] if self.metadata else None) or {})
            if self.texts is not None:
                metadata["text"] = self.texts[place]
            item_id = self.ids[place] if self.ids is not None else _id_of(metadata["text"])
            items.append(Item(item_id, vector, metadata))
        return items


def _id_of(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


class VectorUpsert(Executor[VectorUpsertInputs]):
    """Keeps items in an index, replacing those of the same ids."""

    outputs: ClassVar[tuple[str, ...]] = ("count",)
    Inputs = VectorUpsertInputs

    async def run(self, inputs: VectorUpsertInputs, context: StepContext) -> Mapping[str, Any]:
        """Keep them; an index begins with its first item."""
        count = await inputs.store(context).upsert(inputs.index, inputs.stored(), namespace=inputs.namespace)
        return {"count": count}


class VectorDeleteInputs(StoreInputs):
    """What to delete.

    Attributes:
        ids: Ids of items; instead of ``filter``.
        filter: What the items' metadata must meet; instead of ``ids``.
    """

    ids: list[Identity] | None = None
    filter: Conditions | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give exactly one of 'ids' and 'filter'")
        return self


class VectorDelete(Executor[VectorDeleteInputs]):
    """Deletes items of an index."""

    outputs: ClassVar[tuple[str, ...]] = ("count",)
    Inputs = VectorDeleteInputs

    async def run(self, inputs: VectorDeleteInputs, context: StepContext) -> Mapping[str, Any]:
        """Delete them; what does not exist does not count."""
        which = inputs.ids if inputs.filter is None else parse_filter(inputs.filter)
        count = await inputs.store(context).delete(inputs.index, which or [], namespace=inputs.namespace)
        return {"count": count}
