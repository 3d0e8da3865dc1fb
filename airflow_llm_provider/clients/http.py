"""What clients over HTTP share: one call, and every way it can fail as a class of :mod:`airflow_llm_provider.errors`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar

import httpx

from airflow_llm_provider import __version__
from airflow_llm_provider.clients.base import Credentials
from airflow_llm_provider.clients.failures import failure, failure_in_stream, redact
from airflow_llm_provider.clients.transport import http_client
from airflow_llm_provider.errors import ConfigurationError, ConnectionError, InvalidRequest, StepError, TimeoutError

__all__ = ["HttpClient", "error_from_answer", "events", "secrets_in", "send"]

_SHORTEST_SECRET = 8
"""Characters."""

_FORMS: Mapping[type[Any], str] = {dict: "object", list: "list"}


@cache
def _tls() -> ssl.SSLContext:
    # Loading the certificates takes 20 ms, so all clients of a process share them.
    return httpx.create_ssl_context()


def secrets_in(texts: Iterable[str]) -> Iterator[str]:
    """Give what may be a secret in headers' values or a URL's parts: ``Bearer x`` is one, and so is ``x`` alone."""
    for text in texts:
        # A word that is shorter is no secret, and hiding it would tear holes into messages.
        yield from (word for word in (text, *text.split()) if len(word) >= _SHORTEST_SECRET)


class HttpClient:
    """Base of the clients over HTTP.

    Args:
        credentials: How to reach the provider.
        http: Makes the calls, with its own timeouts and limits, and stays open at the end; None means one of the client's own.

    Attributes:
        provider: The provider's name, for messages.
        default_base_url: Root of the API when the credentials name none; for a provider that everybody runs at an address of
            their own, an example of one.
        has_one_address: Whether ``default_base_url`` is one.
        needs_key: Whether it answers nobody without a key.
        api_key_variable: The provider's usual environment variable for the key.
        base_url_variable: The provider's usual environment variable for the root of the API.

    Raises:
        ConfigurationError: There is no API key, or no address.
    """

    provider: ClassVar[str]
    default_base_url: ClassVar[str]
    api_key_variable: ClassVar[str]
    base_url_variable: ClassVar[str]
    has_one_address: ClassVar[bool] = True
    needs_key: ClassVar[bool] = True

    def __init__(self, credentials: Credentials, http: httpx.AsyncClient | None = None) -> None:
        if not credentials.api_key and self.needs_key:
            raise ConfigurationError(
                f"no API key for provider {self.provider!r}; set {self.api_key_variable}, add an Airflow connection "
                f"'{self.provider}_default' with the key as password, or set integrations.llm_forge.api_keys in orchestrator.yaml"
            )
        key = credentials.api_key or ""
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigurationError(
                f"the API key for provider {self.provider!r} holds a blank, a line end or another character that no key has; "
                "copy it again, without what stands around it"
            )
        if not (credentials.base_url or self.has_one_address):
            raise ConfigurationError(
                f"no address for provider {self.provider!r}; set {self.base_url_variable}, or add an Airflow connection "
                f"'{self.provider}_default' with it as host, such as {self.default_base_url!r}"
            )
        base_url = credentials.base_url or self.default_base_url
        try:
            self._base_url = httpx.URL(base_url)
            if self._base_url.scheme not in ("http", "https") or not self._base_url.host:
                raise ValueError("no http URL")
            self._headers = httpx.Headers(
                {"user-agent": f"airflow-llm-provider/{__version__}", **(self.authorization(key) if key else {})}
            )
            # A gateway's own header takes the place of ours, in whichever case it is written.
            self._headers.update(dict(credentials.headers))
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
            shown = re.sub(r"//[^/]*@", "//***@", base_url)
            raise ConfigurationError(
                f"provider {self.provider!r} cannot be reached at {shown!r} ({type(error).__name__}); "
                f"write a URL such as {self.default_base_url!r}"
            ) from None
        self._secrets = (key, self._base_url.password, *secrets_in(credentials.headers.values()))
        self._urls: dict[str, httpx.URL] = {}
        self._shared = http is not None
        patience = credentials.timeout
        self._timeout = None if patience is None else httpx.Timeout(patience, connect=min(10.0, patience))
        self._http = http or http_client(_tls() if self._base_url.scheme == "https" else False)

    @staticmethod
    def authorization(key: str) -> dict[str, str]:
        """Give the headers that carry the key."""
        raise NotImplementedError  # pragma: no cover - every client has its own

    async def aclose(self) -> None:
        """Close the connections, except those that are shared."""
        if not self._shared:
            await self._http.aclose()

    def _request(
        self, path: str, body: Any, method: str = "POST", params: Mapping[str, Any] | None = None
    ) -> httpx.Request:
        url = self._url(path)
        for name, value in (params or {}).items():
            url = url.copy_merge_params({name: value})
        try:
            request = self._http.build_request(method, url, json=body, headers=self._headers)
            if self._timeout is not None:
                request.extensions["timeout"] = self._timeout.as_dict()
            return request
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"the request holds half a character ({error.object[error.start]!r}), which no JSON text can; "
                "take it out of the prompt, or find out where it was cut in two"
            ) from None

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            # The base URL may hold a query, as Azure's does.
            self._urls[path] = self._base_url.copy_with(path=self._base_url.path.rstrip("/") + path)
        return self._urls[path]

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a JSON body and read a JSON object.

        Raises:
            StepError: The class that fits the failure.
        """
        data: dict[str, Any] = await self.call("POST", path, body)
        return data

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        form: type[Any] = dict,
    ) -> Any:
        """Send JSON and read JSON.

        Args:
            method: The HTTP method.
            path: Below the root of the API.
            body: JSON; None sends none.
            params: The query.
            form: Of which type the answer has to be; an empty answer is an empty one of it.

        Raises:
            StepError: The class that fits the failure.
        """
        request = self._request(path, body, method, params)
        answer = await send(self._http, request, secrets=self._secrets)
        if not answer.content and method != "POST":
            return form()
        return self._read(answer, form)

    def _read(self, answer: httpx.Response, form: type[Any]) -> Any:
        try:
            data = answer.json()
        except ValueError:
            data = None
        if not isinstance(data, form):
            # A provider does not answer 200 with something else than an object; whatever stands between broke it.
            shown = redact(answer.text, self._secrets)[:80]
            raise ConnectionError(
                f"{self.provider}: the answer is no JSON {_FORMS[form]} but {shown!r}",
                status=answer.status_code,
                may_have_cost=True,
            )
        return data

    async def upload(self, path: str, fields: Mapping[str, str], name: str, content: bytes) -> Any:
        """Send a file as a form, and read a JSON object.

        Args:
            path: Below the root of the API.
            fields: The form's other fields.
            name: The file's name.
            content: What is in it.

        Raises:
            StepError: The class that fits the failure.
        """
        url = self._url(path)
        files = {"file": (name, content, "application/jsonl")}
        request = self._http.build_request("POST", url, data=dict(fields), files=files, headers=self._headers)
        return self._read(await send(self._http, request, secrets=self._secrets), dict)

    async def lines(self, path: str) -> AsyncGenerator[dict[str, Any], None]:
        """Read a file of JSON lines, one by one.

        Args:
            path: Below the root of the API.

        Raises:
            StepError: The class that fits the failure.
        """
        answer = await send(self._http, self._request(path, None, "GET"), secrets=self._secrets, stream=True)
        try:
            async for line in _lines(answer):
                if line.strip():
                    with self.reading():
                        yield _object(line)
        except httpx.HTTPError as error:
            raise _transport_error(error, answer.request, self._secrets) from None
        except ValueError:
            raise ConnectionError(f"{answer.request.url.host} sent a line that is no JSON object") from None
        finally:
            await answer.aclose()

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Send a JSON body and read a stream of server-sent events, each a JSON object.

        Raises:
            StepError: The class that fits the failure.
        """
        answer = await send(self._http, self._request(path, body), secrets=self._secrets, stream=True)
        try:
            async for event in events(answer, self._secrets):
                if event.get("error"):
                    raise failure_in_stream(self.provider, event, self._secrets)
                yield event
        finally:
            await answer.aclose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong while an answer's parts are read into the class for an answer that did not arrive.

        Raises:
            ConnectionError: The answer does not have the form that the API promises.
        """
        try:
            yield
        except (LookupError, TypeError, AttributeError, OverflowError) as error:
            what = f"{type(error).__name__}: {redact(str(error), self._secrets)}"
            raise ConnectionError(
                f"{self.provider}: the answer does not have the API's form ({what})", may_have_cost=True
            ) from None


async def send(
    client: httpx.AsyncClient, request: httpx.Request, *, secrets: Iterable[str] = (), stream: bool = False
) -> httpx.Response:
    """Send a request once.

    Args:
        client: Sends it.
        request: What to send.
        secrets: Must not appear in an error's text, even when the other side repeats them.
        stream: Whether the caller reads the body bit by bit.

    Returns:
        The answer; its status is below 300.

    Raises:
        StepError: The class that fits the failure.
    """
    try:
        # Where only reading is asked for, a redirect is followed; the library takes the credentials off for another host.
        answer = await client.send(request, stream=stream, follow_redirects=request.method in ("GET", "HEAD"))
        if answer.status_code >= 300:
            await answer.aread()
    except httpx.TooManyRedirects:
        raise InvalidRequest(f"{request.url.host} redirects in a circle") from None
    except httpx.HTTPError as error:
        raise _transport_error(error, request, secrets) from None
    if answer.status_code >= 400:
        raise error_from_answer(answer, secrets=secrets)
    if answer.status_code >= 300:
        # Sending a body anew to wherever the other side says could give it to somebody else.
        target = answer.headers.get("location", "").partition("?")[0]
        where = redact(re.sub(r"//[^/]*@", "//***@", target), secrets)
        raise InvalidRequest(
            f"{request.url.host} answered {answer.status_code} and redirects to {where or 'nowhere'}; write that address",
            status=answer.status_code,
        )
    return answer


def _transport_error(error: httpx.HTTPError, request: httpx.Request, secrets: Iterable[str] = ()) -> StepError:
    where = request.url.host
    # What carries many requests at once calls a connection that was closed a timeout.
    cut_off = error.__cause__ is not None and not isinstance(error.__cause__, asyncio.TimeoutError)
    if isinstance(error, httpx.ConnectTimeout) and cut_off:
        return ConnectionError(f"the connection to {where} failed ({type(error.__cause__).__name__})")
    was_sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    if isinstance(error, httpx.TimeoutException):
        return TimeoutError(f"no answer from {where} in time ({type(error).__name__})", may_have_cost=was_sent)
    if isinstance(error, httpx.UnsupportedProtocol):
        # Path and query stay out: some URLs hold a secret there.
        return InvalidRequest(
            f"a URL with the scheme {request.url.scheme!r} and the host {where!r} cannot be called; "
            "write one that begins with http:// or https://"
        )
    if isinstance(error, httpx.LocalProtocolError):
        # The request is at fault, and the library's message may quote a header.
        return InvalidRequest(
            f"the request to {where} cannot be sent; a header holds a line end or another control character"
        )
    return ConnectionError(
        f"the connection to {where} failed ({type(error).__name__}: {redact(str(error), secrets)})",
        may_have_cost=was_sent,
    )


def _object(line: str) -> dict[str, Any]:
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError(line)
    return data


async def _lines(answer: httpx.Response) -> AsyncIterator[str]:
    # httpx's own lines also end at U+2028, U+0085 and others, which JSON texts may hold as they are.
    rest = b""
    async for piece in answer.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode()
    if rest.strip():
        yield rest.decode()


async def events(answer: httpx.Response, secrets: Iterable[str] = ()) -> AsyncIterator[dict[str, Any]]:
    """Read server-sent events.

    Args:
        answer: A streamed answer.
        secrets: Must not appear in an error's text.

    Yields:
        The JSON object of each event; the end mark ``[DONE]`` is left out.

    Raises:
        StepError: The stream broke off or holds something else.
    """
    data: list[str] = []
    try:
        async for line in _lines(answer):
            if line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                text, data = "\n".join(data), []
                if text != "[DONE]":
                    event = json.loads(text)
                    if not isinstance(event, dict):
                        raise ValueError(text)
                    yield event
    except httpx.HTTPError as error:
        raise _transport_error(error, answer.request, secrets) from None
    except ValueError:
        raise ConnectionError(
            f"{answer.request.url.host} sent an event that is no JSON object", may_have_cost=True
        ) from None


def error_from_answer(answer: httpx.Response, *, secrets: Iterable[str] = ()) -> StepError:
    """Find the error of an answer.

    Args:
        answer: An answer with a status of 400 or above, read to its end.
        secrets: Must not appear in the error's text.
    """
    try:
        body = answer.json()
    except ValueError:
        body = " ".join(answer.text.split())[:10_000]
    return failure(
        answer.request.url.host,
        answer.status_code,
        body,
        reason=answer.reason_phrase,
        headers=answer.headers,
        secrets=secrets,
    )
