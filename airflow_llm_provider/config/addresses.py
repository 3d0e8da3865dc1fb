"""Addresses as ``orchestrator.yaml`` has them: which hold a password, and how one is shown without it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["SECRET_SHOWN", "holds_password", "is_web_address", "may_hold_password", "shown_address"]

SECRET_SHOWN = "***"
"""Stands for a secret where people read."""

_SECRET_QUERY = re.compile(r"([?&][^=&#]*(?:pass|pwd|secret|token|key|sig)[^=&#]*=)[^&#]*", re.IGNORECASE)


def shown_address(url: str) -> str:
    """Give an address without its password.

    Args:
        url: The address. Of one that cannot be split for sure, for its password has characters that were to be encoded, only the
            scheme is given.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return SECRET_SHOWN
    host, slash, below = rest.partition("/")
    if host and ("@" in below or _port_of(url) is None):
        return f"{scheme}://{SECRET_SHOWN}"
    user_info, at, host = host.rpartition("@")
    name, colon, _ = user_info.partition(":")
    shown = f"{scheme}://{name}{colon}{SECRET_SHOWN * bool(colon)}{at}{host}{slash}{below}"
    return _SECRET_QUERY.sub(rf"\1{SECRET_SHOWN}", shown)


def _port_of(url: str) -> int | None:
    """Give an address's port, 0 where it names none; None of what is no port."""
    try:
        return urlsplit(url).port or 0
    except ValueError:
        return None


def holds_password(text: str) -> bool:
    """Tell whether a text is an address with a password, or another secret, in it.

    Args:
        text: Any text.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or not re.fullmatch(r"[\w.+-]+", scheme):
        return False
    if _SECRET_QUERY.search(rest):
        return True
    # Over HTTP, the name alone may be a token.
    user_info = re.split("[/?#]", rest)[0].rpartition("@")[0]
    return bool(user_info) and (scheme.lower() in ("http", "https") or ":" in user_info)


def may_hold_password(text: str) -> bool:
    """Tell whether a text may be an address with a password, be it well written or not.

    Args:
        text: Any text.
    """
    return holds_password(text) or ("://" in text and shown_address(text) != text)


def is_web_address(text: str) -> bool:
    """Tell whether a text is the address of something that is asked over HTTP.

    Args:
        text: Any text.
    """
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
