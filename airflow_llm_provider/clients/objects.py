"""Object storage: the objects below a URL, one object's bytes, and writing one.

``s3://`` is spoken by boto3, the SDK that deployments on AWS have anyway, and every other scheme by fsspec. Everything here blocks,
so callers run it in a thread. Whatever goes wrong is a class of :mod:`airflow_llm_provider.errors`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from airflow_llm_provider.clients.aws import aws_access
from airflow_llm_provider.clients.base import ConnectionFields
from airflow_llm_provider.config.targets import Storage
from airflow_llm_provider.errors import InvalidRequest

__all__ = ["ObjectStore", "ObjectUrl", "StoredObject", "open_store", "too_large"]

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object.

    Attributes:
        url: Its URL.
        path: Its path from the folder that was listed.
        size: Bytes.
    """

    url: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """A URL in an object store, of an object or of the folder that objects are below.

    Attributes:
        scheme: What stands before ``://``.
        path: What stands behind it, the bucket included.
    """

    scheme: str
    path: str

    @classmethod
    def parse(cls, text: str) -> ObjectUrl:
        """Read a URL.

        Args:
            text: Such as ``s3://bucket/folder`` or ``file:///data/folder``.

        Raises:
            ValueError: It is no URL, or none that belongs to an object store.
        """
        match = _URL.fullmatch(text)
        if match is None:
            path = text.strip("/") or "folder"
            raise ValueError(
                f"{text!r} is no URL; write 's3://{path}' for a bucket, or 'file:///{path}' for a folder of this machine"
            )
        scheme, rest = match["scheme"], match["rest"]
        if scheme in ("http", "https"):
            raise ValueError("an http URL is no object storage; use the executor 'http:request' for it")
        if re.match(r"[^/@]*:[^/@]*@", rest):
            raise ValueError("the URL holds a password; put credentials into 'storage' of orchestrator.yaml")
        if "::" in text or not rest.isprintable():
            raise ValueError("the URL holds '::' or a control character, which no object's URL does")
        if not rest.strip("/"):
            raise ValueError(f"{text!r} names no bucket or folder")
        if scheme == "file" and not rest.startswith("/"):
            raise ValueError(f"{text!r} is no absolute path; write 'file:///{rest}'")
        return cls("s3" if scheme == "s3a" else scheme, rest)

    def __str__(self) -> str:
        """Write it."""
        return f"{self.scheme}://{self.path}"

    @property
    def folder(self) -> str:
        """The path of a folder, with one ``/`` at its end."""
        return self.path.rstrip("/") + "/"

    def below(self, key: str) -> ObjectUrl:
        """Give the URL of an object in this folder.

        Args:
            key: Its path from here.

        Raises:
            InvalidRequest: The path is empty or leads out of the folder.
        """
        if not key.strip("/") or ".." in key.split("/"):
            raise InvalidRequest(f"{key!r} is no key of an object below {self}; write one without '..'")
        return ObjectUrl(self.scheme, self.folder + key.lstrip("/"))


class ObjectStore(Protocol):
    """What one scheme's objects are reached by; every method may block, and may be called from several threads."""

    def objects(self, folder: ObjectUrl, prefix: str) -> Iterator[StoredObject]:
        """Give the objects below a folder whose path from there begins with a prefix, sorted by URL.

        Raises:
            LLMProviderError: They cannot be listed.
        """
        ...  # pragma: no cover - protocol

    def read(self, url: ObjectUrl, most: int) -> bytes:
        """Give an object's bytes.

        Args:
            url: The object.
            most: Most bytes that it may have.

        Raises:
            LLMProviderError: There is no such object, it is larger, or it cannot be read.
        """
        ...  # pragma: no cover - protocol

    def write(self, url: ObjectUrl, data: bytes, content_type: str) -> None:
        """Write an object as a whole, in place of the one that is there.

        Raises:
            LLMProviderError: It cannot be written; what was there is still there.
        """
        ...  # pragma: no cover - protocol


def open_store(scheme: str, storage: Storage, connection: ConnectionFields | None = None) -> ObjectStore:
    """Give what a scheme's objects are reached by.

    Args:
        scheme: The scheme of a URL.
        storage: What the settings say.
        connection: The fields of the Airflow connection that the step names; they take the place of the settings.

    Raises:
        ConfigurationError: A package is missing, or what the settings or the connection say cannot be used.
        InvalidRequest: Nothing knows the scheme.
    """
    if scheme == "s3":
        from airflow_llm_provider.clients.objects_s3 import S3Store

        return S3Store(storage.s3 if connection is None else aws_access(connection, "s3://"))
    from airflow_llm_provider.clients.objects_fsspec import FsspecStore

    return FsspecStore(scheme, storage.options.get(scheme, {}) if connection is None else connection.extra)


def too_large(url: ObjectUrl, most: int, size: int | None = None) -> InvalidRequest:
    """Make the error for an object that is larger than it may be.

    Args:
        url: The object.
        most: Most bytes that it may have.
        size: Its bytes, when known.
    """
    has = "more" if size is None else f"{size:,} bytes"
    return InvalidRequest(f"{url} has {has}, and 'max_bytes' allows {most:,}; allow more, or pick a smaller object")
