"""Every scheme that fsspec knows: ``file``, ``memory``, ``gs``, ``abfs``, and what further packages bring."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_llm_provider.clients.failures import failure
from airflow_llm_provider.clients.objects import ObjectUrl, StoredObject, too_large
from airflow_llm_provider.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    InvalidRequest,
    LLMProviderError,
    ServiceUnavailable,
    TimeoutError,
)
from airflow_llm_provider.spelling import closest

__all__ = ["FsspecStore"]

_BESIDE = ".part"
"""Ends the name of a file that is not yet whole."""


class FsspecStore:
    """The file system of one scheme.

    Args:
        scheme: The scheme.
        options: What fsspec's class for it takes; they may hold secrets.

    Raises:
        InvalidRequest: fsspec does not know the scheme.
        ConfigurationError: The package for the scheme is not installed, or the options are not what it takes.
    """

    def __init__(self, scheme: str, options: Mapping[str, Any]) -> None:
        import fsspec

        try:
            file_system = fsspec.get_filesystem_class(scheme)
        except ValueError:
            known = {*fsspec.available_protocols()}
            raise InvalidRequest(
                f"no file system has the scheme {scheme!r}; {closest(scheme, known) or 'write s3, gs, abfs or file'}"
            ) from None
        except ImportError as error:
            raise ConfigurationError(f"objects of {scheme}:// need a further package: {error}") from None
        self._local = scheme in ("file", "local")
        try:
            self._fs: Any = file_system(**options)
        except Exception as error:
            # The message may quote an option, and so a key.
            raise ConfigurationError(
                f"{scheme}:// cannot be reached with storage.options.{scheme} of orchestrator.yaml ({type(error).__name__})"
            ) from None

    def objects(self, folder: ObjectUrl, prefix: str) -> Iterator[StoredObject]:
        """Give the objects below a folder; all of them are read, for only S3 promises an order."""
        with _errors(folder):
            self._fs.invalidate_cache()
            root = self._fs._strip_protocol(str(folder)).rstrip("/") + "/"
            if self._local and not os.path.isdir(root):
                raise InvalidRequest(f"{folder} is no folder")
            found = self._fs.find(root, detail=True)
            listed = [
                StoredObject(self._fs.unstrip_protocol(path), path[len(root) :], int(about.get("size") or 0))
                for path, about in found.items()
                if path.startswith(root + prefix) and not path.endswith((_BESIDE, "/"))
            ]
        yield from sorted(listed, key=lambda item: item.url)

    def read(self, url: ObjectUrl, most: int) -> bytes:
        """Give an object's bytes."""
        with _errors(url), self._fs.open(str(url), "rb") as file:
            data: bytes = file.read(most + 1)
        if len(data) > most:
            raise too_large(url, most)
        return data

    def write(self, url: ObjectUrl, data: bytes, content_type: str) -> None:
        """Write an object: a local file beside and then in its place, all else in one call, as object stores take it."""
        with _errors(url):
            if self._local:
                _write_beside(Path(self._fs._strip_protocol(str(url))), data)
            else:
                self._fs.pipe_file(str(url), data)


def _write_beside(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex}{_BESIDE}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _errors(url: ObjectUrl) -> Iterator[None]:
    try:
        yield
    except LLMProviderError:
        raise
    except FileNotFoundError:
        raise InvalidRequest(f"{url} does not exist") from None
    except PermissionError as error:
        raise AuthenticationError(f"{url} may not be read or written: {error.strerror or 'not allowed'}") from None
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise InvalidRequest(f"{url} cannot be used: {error.strerror or type(error).__name__}") from None
    except OSError as error:
        kind = _of_os_error(error)
        raise kind(f"{url}: {error.strerror or type(error).__name__}") from None
    except ImportError as error:
        raise ConfigurationError(f"{url} needs a further package: {error}") from None
    except Exception as error:
        # Each package has errors of its own; those that came over HTTP carry the status.
        status = getattr(error, "status", None) or getattr(error, "status_code", None) or getattr(error, "code", None)
        if isinstance(status, int) and 400 <= status < 600:
            raise failure(str(url), status, type(error).__name__) from None
        raise ConnectionError(f"{url} cannot be reached ({type(error).__name__})") from None


def _of_os_error(error: OSError) -> type[ConnectionError | TimeoutError | ServiceUnavailable]:
    import builtins

    if isinstance(error, builtins.TimeoutError):
        return TimeoutError
    return ConnectionError if isinstance(error, builtins.ConnectionError) or not error.errno else ServiceUnavailable
