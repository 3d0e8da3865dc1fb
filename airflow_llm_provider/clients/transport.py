"""How requests are carried: by httpx itself, and when there are many at once by aiohttp below it.

httpx looks through all of its connections for every request, so that fifty requests at once take longer than one after the other.
aiohttp does not, but takes a tenth of a second to import, which one request is not worth.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from urllib.request import getproxies

import httpx

__all__ = ["TIMEOUT", "http_client"]

TIMEOUT = httpx.Timeout(600.0, connect=10.0)
"""Seconds; a step's own limit is usually shorter, and ends the call wherever it is."""

FEW = 8
"""Requests at once that httpx carries by itself."""

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


def http_client(verify: ssl.SSLContext | bool) -> httpx.AsyncClient:
    """Give a client for any number of requests at once.

    Args:
        verify: Whose certificates are trusted; False where there are none to see.
    """
    if getproxies():
        # httpx finds proxies of the environment only for a transport of its own.
        return httpx.AsyncClient(timeout=TIMEOUT, limits=_LIMITS, verify=verify)
    return httpx.AsyncClient(timeout=TIMEOUT, transport=_Growing(verify))


class _Growing(httpx.AsyncBaseTransport):
    """Carries a few requests by httpx, and what comes beside them by aiohttp."""

    def __init__(self, verify: ssl.SSLContext | bool) -> None:
        self._verify = verify
        self._few = httpx.AsyncHTTPTransport(verify=verify, limits=_LIMITS)
        self._many: httpx.AsyncBaseTransport | None = None
        self._carried = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # aiohttp refuses a password in the address beside one in the headers.
        if self._carried >= FEW and not request.url.userinfo:
            return await self._for_many().handle_async_request(request)
        self._carried += 1
        try:
            answer = await self._few.handle_async_request(request)
        except BaseException:
            self._carried -= 1
            raise
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        answer.stream = _Counted(answer.stream, self)
        return answer

    def _for_many(self) -> httpx.AsyncBaseTransport:
        if self._many is None:
            from httpx_aiohttp import AiohttpTransport

            # To aiohttp, 0 means without a limit.
            self._many = AiohttpTransport(verify=self._verify, limits=httpx.Limits(max_connections=0))
        return self._many

    def ended(self) -> None:
        """Take note that one of the few has ended."""
        self._carried -= 1

    async def aclose(self) -> None:
        """Close all connections."""
        await self._few.aclose()
        if self._many is not None:
            await self._many.aclose()


class _Counted(httpx.AsyncByteStream):
    """An answer's body, which tells when it has been read to its end, or given up."""

    def __init__(self, stream: httpx.AsyncByteStream, transport: _Growing) -> None:
        self._stream = stream
        self._transport: _Growing | None = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if self._transport is not None:
                self._transport.ended()
                self._transport = None
