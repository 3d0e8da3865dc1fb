"""``storage:s3-list``, ``storage:s3-download``, ``storage:s3-upload``: objects of any object storage, whatever their names say.

A URL's scheme decides what is spoken: ``s3://`` is S3's API, ``file://`` this machine's folders, ``memory://`` this process, and
``gs://``, ``abfs://`` and others what fsspec has for them.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import quote

from pydantic import AfterValidator, AliasChoices, Field, model_validator
from typing_extensions import Self

from airflow_llm_provider.clients.objects import ObjectStore, ObjectUrl, StoredObject
from airflow_llm_provider.engine.executor import Executor, Inputs, StepContext
from airflow_llm_provider.errors import InvalidOutput, InvalidRequest
from airflow_llm_provider.workflow.values import from_json, to_json

__all__ = ["Download", "DownloadInputs", "ListInputs", "ListObjects", "Upload", "UploadInputs"]

MAX_BYTES = 50_000_000
"""Most bytes that are read when a step says nothing; what is read becomes a step's output, which Airflow keeps."""

_AT_ONCE = 8
"""Most objects that are read at the same time."""


def _checked(text: str) -> str:
    ObjectUrl.parse(text)
    return text


Url = Annotated[str, AfterValidator(_checked)]
"""The URL of an object, or of the folder that objects are below."""


class _StorageInputs(Inputs):
    """What all of them take.

    Attributes:
        connection: Airflow connection with the credentials; those of the settings or the environment when absent.
    """

    connection: str | None = None


InputsT = TypeVar("InputsT", bound=_StorageInputs)


class _Storage(Executor[InputsT]):
    """What all of them have in common."""

    def reaches_out(self, inputs: InputsT) -> bool:
        """Say that it always does, reading included."""
        return True


class ListInputs(_StorageInputs):
    """Which objects.

    Attributes:
        bucket: The URL that they are below, such as ``s3://bucket/folder``.
        prefix: How their path from there begins.
        pattern: A glob: without ``/`` for an object's last name, with it for the path below ``bucket``; ``*`` stands for ``/`` too.
        max_items: Most objects; the first by URL.
        include_content: Whether to read them as well, as text.
        max_bytes: Most bytes that are read, of all objects together.
    """

    bucket: Url
    prefix: str = ""
    pattern: str | None = Field(default=None, min_length=1)
    max_items: int = Field(default=1000, ge=1, le=100_000)
    include_content: bool = False
    max_bytes: int = Field(default=MAX_BYTES, ge=1)


class ListObjects(_Storage[ListInputs]):
    """The objects below a URL."""

    outputs: ClassVar[tuple[str, ...]] = ("documents", "count", "truncated")
    Inputs = ListInputs

    async def run(self, inputs: ListInputs, context: StepContext) -> Mapping[str, Any]:
        """List them.

        Returns:
            ``documents`` (URLs, sorted; with ``include_content`` objects ``{url, size, content}``), their ``count``, and whether
            there are more than ``max_items`` (``truncated``).

        Raises:
            LLMProviderError: They cannot be listed or read.
            InvalidOutput: One that is to be read is no text.
        """
        folder = ObjectUrl.parse(inputs.bucket)
        store = await asyncio.to_thread(context.runtime.object_store, folder.scheme, inputs.connection)

        def listed() -> list[StoredObject]:
            found = store.objects(folder, inputs.prefix)
            return list(islice((item for item in found if _fits(item.path, inputs.pattern)), inputs.max_items + 1))

        found = await asyncio.to_thread(listed)
        chosen = found[: inputs.max_items]
        documents: list[Any] = [item.url for item in chosen]
        if inputs.include_content:
            documents = await _contents(store, chosen, inputs.max_bytes)
        return {"documents": documents, "count": len(chosen), "truncated": len(found) > len(chosen)}


def _fits(path: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    return fnmatchcase(path if "/" in pattern else path.rpartition("/")[2], pattern)


async def _contents(store: ObjectStore, items: list[StoredObject], most: int) -> list[Any]:
    total = sum(item.size for item in items)
    if total > most:
        raise InvalidRequest(
            f"the {len(items)} objects have {total:,} bytes together, and 'max_bytes' allows {most:,}; "
            "choose fewer with 'prefix', 'pattern' or 'max_items'"
        )
    slots = asyncio.Semaphore(_AT_ONCE)

    async def content(item: StoredObject) -> dict[str, Any]:
        async with slots:
            data = await asyncio.to_thread(store.read, ObjectUrl.parse(item.url), most)
        return {"url": item.url, "size": len(data), "content": _text(item.url, data, "leave it out with 'pattern'")}

    return list(await asyncio.gather(*map(content, items)))


def _text(url: str, data: bytes, hint: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidOutput(f"{url} is no text in UTF-8 (byte {error.start}); {hint}") from None


class DownloadInputs(_StorageInputs):
    """Which object, read as what.

    Attributes:
        url: The object's URL.
        format: ``text`` (UTF-8), ``json``, or ``base64`` for bytes.
        max_bytes: Most bytes that it may have.
    """

    url: Url
    format: Literal["text", "json", "base64"] = "text"
    max_bytes: int = Field(default=MAX_BYTES, ge=1)


class Download(_Storage[DownloadInputs]):
    """One object's content."""

    outputs: ClassVar[tuple[str, ...]] = ("content", "size", "url")
    Inputs = DownloadInputs

    async def run(self, inputs: DownloadInputs, context: StepContext) -> Mapping[str, Any]:
        """Read it.

        Raises:
            LLMProviderError: It cannot be read.
            InvalidOutput: It is not what ``format`` says.
        """
        url = ObjectUrl.parse(inputs.url)
        store = await asyncio.to_thread(context.runtime.object_store, url.scheme, inputs.connection)
        data = await asyncio.to_thread(store.read, url, inputs.max_bytes)
        content: Any
        if inputs.format == "base64":
            content = base64.b64encode(data).decode("ascii")
        else:
            content = _text(inputs.url, data, "read it with 'format: base64'")
        if inputs.format == "json":
            try:
                content = from_json(content)
            except ValueError as error:
                raise InvalidOutput(f"{inputs.url} is no JSON: {error}") from None
        return {"content": content, "size": len(data), "url": inputs.url}


class UploadInputs(_StorageInputs):
    """What to write where.

    Attributes:
        url: The object's URL; instead of ``bucket``.
        bucket: The URL that the object is to be below.
        key: Its path from there; ``<run id>/<step id>.json`` (``.txt`` for a text) when absent, which is the same in every try.
        data: What to write, also as ``content``: a text as it is, everything else as JSON.
        content_type: The object's media type, where the store keeps one; by default that of text or of JSON.
    """

    url: Url | None = None
    bucket: Url | None = None
    key: str | None = Field(default=None, min_length=1)
    data: Any = Field(validation_alias=AliasChoices("data", "content"))
    content_type: str | None = Field(default=None, pattern=r"^[\w.+-]+/[\w.+-]+(\s*;.*)?$")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (self.bucket is None):
            raise ValueError("give exactly one of 'url' and 'bucket'")
        if self.key is not None and self.bucket is None:
            raise ValueError("'key' needs 'bucket'; 'url' names the whole place")
        return self


class Upload(_Storage[UploadInputs]):
    """Writes one object as a whole; whoever reads meanwhile finds the old one or the new one."""

    outputs: ClassVar[tuple[str, ...]] = ("url", "size")
    Inputs = UploadInputs

    @classmethod
    def gives_text(cls, inputs: Mapping[str, Any]) -> bool:
        """Say that it always does."""
        return True

    async def run(self, inputs: UploadInputs, context: StepContext) -> Mapping[str, Any]:
        """Write it.

        Raises:
            LLMProviderError: It cannot be written.
        """
        is_text = isinstance(inputs.data, str)
        text = inputs.data if is_text else to_json(inputs.data)
        # Half a character, which a cut text may hold, is no UTF-8.
        data = text.encode(errors="replace")
        if inputs.bucket is None:
            url = ObjectUrl.parse(inputs.url or "")
        else:
            key = inputs.key or f"{_name(context.run_id)}/{_name(context.step.id)}.{'txt' if is_text else 'json'}"
            url = ObjectUrl.parse(inputs.bucket).below(key)
        content_type = inputs.content_type or ("text/plain; charset=utf-8" if is_text else "application/json")
        store = await asyncio.to_thread(context.runtime.object_store, url.scheme, inputs.connection)
        await asyncio.to_thread(store.write, url, data, content_type)
        return {"url": str(url), "size": len(data)}


def _name(name: str) -> str:
    """Write an id so that it is one segment of a path, and no other id is written the same."""
    return quote(name, safe=" +:@=[](),") if name.strip(".") else quote(name).replace(".", "%2E")
