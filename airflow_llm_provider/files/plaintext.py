"""Secrets that a workflow file holds in plain text: what they look like, and where data has them.

There are two signs. One is the text itself, which has the shape of a known kind of key wherever it stands, a prompt included. The
other is the key that it stands under, as in ``api_key: hunter2``. A secret that is refused for nothing costs more trust than one
that is missed costs safety, so what is only like an example (``sk-...``, ``sk-your-key``, ``<token>``) is let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from airflow_llm_provider.workflow.model import DocumentPath
from airflow_llm_provider.workflow.templates import is_template

__all__ = ["HIDDEN", "Secret", "find_secrets", "find_shapes", "lines_to_hide", "may_hold_secrets", "names_secret"]

HIDDEN = "•"
"""Stands for one character of a secret where a line of the file is shown; it is plain text anywhere in YAML."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret among some data.

    Attributes:
        path: The way to its text.
        what: What it seems to be.
        start: Where it starts in that text; None when the whole text is the secret.
        end: Where it ends.
        in_key: Whether it is in the last key of the path, and not in the value.
        text: The secret itself.
    """

    path: DocumentPath
    what: str
    start: int | None = None
    end: int | None = None
    in_key: bool = False
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What one kind of secret looks like.

    Attributes:
        what: Its name, for people.
        mark: A text that is in each of them; most files have none of these, and looking for one costs next to nothing.
        pattern: The shape. It begins with literal text or looks behind itself, so that no text takes quadratic time.
    """

    what: str
    mark: str
    pattern: str


_START = "(?<![A-Za-z0-9])"

_SHAPES = {
    "private_key": _Shape(
        "a private key",
        "PRIVATE KEY",
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\s|\\n)+[A-Za-z0-9+/][A-Za-z0-9+/:-]{9}(?:(?!-----)[\s\S])*(?:-----END[A-Z0-9 ]*-----)?",
    ),
    "slack_url": _Shape(
        "the URL of a Slack webhook",
        "hooks.slack",
        r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9_/-]{10,}",
    ),
    "discord_url": _Shape(
        "the URL of a Discord webhook",
        "/api/webhooks/",
        r"https://(?:\w{1,20}\.)?discord(?:app)?\.com/api/webhooks/[0-9]+/[\w-]{20,}",
    ),
    "url_password": _Shape("a password in a URL", "@", r"://[^\s/:@{}'\"<>]{0,200}:[^\s/@{}'\"<>]{1,200}@(?=[\w.\[-])"),
    "url_key": _Shape(
        "a key in a URL",
        "=",
        r"[?&](?:api[_-]?key|(?:access|auth)?[_-]?token|(?:client[_-]?)?secret|password|sig)=[\w.~%+/-]{12,}",
    ),
    "bearer": _Shape("a bearer token", "earer", r"\b[Bb]earer\s{1,9}[\w.~+/-]{16,}=*"),
    "jwt": _Shape("a JSON web token", "eyJ", r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    "anthropic": _Shape("an Anthropic key", "sk-ant-", _START + r"sk-ant-(?:[a-z]+[0-9]{2}-)?[\w-]{16,}"),
    "openai": _Shape("an API key (sk-…)", "sk-", _START + r"sk-(?:proj-|svcacct-|admin-|or-v1-|None-)?[\w-]{16,}"),
    "stripe": _Shape("a Stripe key", "k_", _START + r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "slack": _Shape("a Slack token", "xox", _START + r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "slack_app": _Shape("a Slack token", "xapp-", _START + r"xapp-[A-Za-z0-9-]{10,}"),
    "github": _Shape("a GitHub token", "gh", _START + r"gh[oprsu]_[A-Za-z0-9]{30,}"),
    "github_pat": _Shape("a GitHub token", "github_pat_", _START + r"github_pat_\w{22,}"),
    "gitlab": _Shape("a GitLab token", "glpat-", _START + r"glpat-[\w-]{20,}"),
    "aws": _Shape("an AWS access key", "AKIA", _START + r"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "aws_session": _Shape("an AWS access key", "ASIA", _START + r"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "google": _Shape("a Google API key", "AIza", _START + r"AIza[\w-]{35}(?![\w-])"),
    "huggingface": _Shape("a Hugging Face token", "hf_", _START + r"hf_[A-Za-z0-9]{30,}"),
    "groq": _Shape("a Groq key", "gsk_", _START + r"gsk_[A-Za-z0-9]{40,}"),
    "pinecone": _Shape("a Pinecone key", "pcsk_", _START + r"pcsk_\w{40,}"),
    "sendgrid": _Shape("a SendGrid key", "SG.", _START + r"SG\.[\w-]{16,}\.[\w-]{16,}"),
}


@lru_cache(maxsize=256)
def _pattern(kinds: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{_SHAPES[kind].pattern})" for kind in kinds))


_MADE_OF_WORDS = frozenset({"bearer", "anthropic", "openai", "gitlab", "url_key"})
"""Shapes that words joined by hyphens have, too."""

_PREFIX = re.compile(r"[Bb]earer\s+|sk-(?:ant-(?:[a-z]+[0-9]{2}-)?|proj-|svcacct-|admin-|or-v1-)?|glpat-")

_PLACEHOLDER = re.compile(
    r"""
    <.*> | \[.*\] | \$\w+ | \$\{\w+\} | %\w+% | [*x•.…_-]* | .*(?:\.\.\.|…)
    | (?:your|my|an?|the|some|enter|insert|replace)[-_ ].*
    | redacted | none | null | true | false | yes | no | required | optional | auto
    | string | integer | number | boolean | array | object | any | text | password | secret
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""What stands where a secret would stand: a placeholder, a type, a switch."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_SECRET_WORDS = frozenset(
    {"password", "passwd", "passphrase", "pwd", "secret", "apikey", "authorization", "credentials"}
)
_SECRET_ENDS = frozenset(
    {
        *(
            f"{first} key"
            for first in ("api", "secret", "access", "private", "signing", "encryption", "account", "auth")
        ),
        *(f"{first} keys" for first in ("api", "secret", "private")),
        *("api token", "pass word", "pass phrase"),
    }
)
_COUNTED = frozenset({
    "max", "min", "count", "total", "number", "per", "cost", "price", "input", "output", "prompt", "completion", "cached",
    "reasoning", "new", "each", "average", "stop", "eos", "bos", "pad", "unk", "sep", "mask", "cls", "special", "start",
    "end", "begin", "first", "last", "next", "previous", "page", "continuation", "sync", "resume",
})  # fmt: skip
"""Words before ``token`` that make a piece of text of it, or a place in a list."""

_LONGEST_NAME = 80
_SHORTEST = 8
_PROSE = 4


@lru_cache(maxsize=4096)
def names_secret(key: str) -> bool:
    """Tell whether a key's value is a secret by the key's name: ``api_key``, ``dbPassword``, ``X-Auth-Token``.

    Args:
        key: The key.
    """
    if len(key) > _LONGEST_NAME:
        return False
    words = [word.lower() for word in _WORDS.findall(key)]
    if not words:
        return False
    last = words[-1]
    if last == "token":
        return len(words) == 1 or words[-2] not in _COUNTED
    return last in _SECRET_WORDS or " ".join(words[-2:]) in _SECRET_ENDS


def find_shapes(text: str) -> Iterator[tuple[int, int, str]]:
    """Find what has the shape of a known kind of secret.

    Args:
        text: Any text.

    Yields:
        Where it starts, where it ends, and what it seems to be.
    """
    if len(text) < _SHORTEST:
        return
    kinds = tuple([kind for kind, shape in _SHAPES.items() if shape.mark in text])
    for match in _pattern(kinds).finditer(text) if kinds else ():
        kind = str(match.lastgroup)
        start, end = match.span()
        if kind == "url_password":
            start, end = text.index(":", start + 3) + 1, end - 1
            if _PLACEHOLDER.fullmatch(text[start:end]):
                continue
        elif kind == "url_key":
            start = text.index("=", start) + 1
        if kind not in _MADE_OF_WORDS or _is_random(_PREFIX.sub("", text[start:end], count=1)):
            yield start, end, _SHAPES[kind].what


def _is_random(text: str) -> bool:
    """Tell a key from words joined by hyphens, and from a row of the same character."""
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text)) and len(set(text)) >= 8


_HINTS = ("pass", "pwd", "secret", "key", "token", "authori", "credential")
"""One of these is in every key that names a secret."""

_KEY_ENDS = re.compile(r"[:,{}\[\]\"']")


def may_hold_secrets(text: str) -> bool:
    """Tell whether a file's text may hold what :func:`find_secrets` finds in its data; most plainly do not.

    Args:
        text: YAML or JSON.
    """
    # An escaped character, and a line that is folded, look otherwise in the data.
    if "\\" in text or "earer" in text or next(find_shapes(text), None):
        return True
    lowered = text.lower()
    hints = [hint for hint in _HINTS if hint in lowered]
    lines = (line for line in text.splitlines() if any(hint in line.lower() for hint in hints)) if hints else ()
    return any(names_secret(part.strip()) for line in lines for part in _KEY_ENDS.split(line))


def find_secrets(data: Any) -> list[Secret]:
    """Find every secret among some data, the keys of mappings included.

    Args:
        data: Plain data, as a file holds it. What occurs in it several times is looked at once.
    """
    found: list[Secret] = []
    seen: set[int] = set()
    waiting: list[tuple[DocumentPath, Any]] = [((), data)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            found += _in_text(path, value)
        elif isinstance(value, (dict, list)) and id(value) not in seen:
            seen.add(id(value))
            members = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*path, key), member) for key, member in members]
            if isinstance(value, dict):
                found += _in_mapping(path, value)
    return _once(found)


def _in_text(path: DocumentPath, text: str, *, in_key: bool = False) -> Iterator[Secret]:
    for start, end, what in find_shapes(text):
        yield Secret(path, what, start, end, in_key, text[start:end])


def _in_mapping(path: DocumentPath, mapping: dict[str, Any]) -> Iterator[Secret]:
    # A mapping from a name to a pattern tells how secrets look, not what they are.
    tells = path[-1:] != ("patterns",)
    for key, value in mapping.items():
        yield from _in_text((*path, key), key, in_key=True)
        if tells and names_secret(key):
            for inside, text in _alone(value):
                if _is_secret(text, key):
                    yield Secret((*path, key, *inside), f"the value of {key!r}", text=str(text))
    # A header or an input may be written as its name and its value.
    name = next((mapping[key] for key in ("name", "key", "header") if isinstance(mapping.get(key), str)), "")
    if tells and names_secret(name):
        for key in ("value", "default"):
            for inside, text in _alone(mapping.get(key)):
                if _is_secret(text, name):
                    yield Secret((*path, key, *inside), f"the value of {name!r}", text=str(text))


def _alone(value: Any) -> Iterator[tuple[DocumentPath, Any]]:
    """Give what stands under a key by itself, or in a list; or as the default of an input of that name."""
    if isinstance(value, list):
        yield from (((index,), item) for index, item in enumerate(value))
    elif isinstance(value, dict):
        yield from (((key,), value[key]) for key in ("default", "value") if key in value)
    else:
        yield (), value


def _is_secret(value: Any, key: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # `token: 5` counts or numbers something.
        return "token" not in key.lower() and value != 0
    if not isinstance(value, str) or is_template(value):
        return False
    text = value.strip()
    scheme, _, rest = text.partition(" ")
    if scheme.lower() in ("bearer", "basic", "token", "apikey", "digest") and rest:
        text = rest.strip()
    if len(text.split()) >= _PROSE and "phrase" not in key.lower():
        return False
    # `$.` and `$[` begin a JSONPath.
    return not text.startswith(("$.", "$[")) and not _PLACEHOLDER.fullmatch(text)


def _once(found: list[Secret]) -> list[Secret]:
    """Leave out what is told by the name of a key where the text tells more."""
    shaped = {secret.path for secret in found if secret.start is not None and not secret.in_key}
    whole: set[DocumentPath] = set()
    kept = []
    for secret in found:
        if secret.start is None:
            if secret.path in shaped or secret.path in whole:
                continue
            whole.add(secret.path)
        kept.append(secret)
    return kept


_ENTRY = re.compile(r"(?<![\w.-])([\"']?)([A-Za-z_][\w.-]{1,60})\1[ \t]*[:=][ \t]*(?=[^\s{\[|>&#])")
"""A key with its value behind it on the line, whatever is around them."""


def lines_to_hide(text: str) -> Iterator[tuple[int, int]]:
    """Find what may be a secret in a text that cannot be read as data; rather too much than too little.

    Args:
        text: Any text.

    Yields:
        Where it starts and where it ends.
    """
    for start, end, _ in find_shapes(text):
        yield start, end
    for match in _ENTRY.finditer(text):
        if names_secret(match[2]):
            end = text.find("\n", match.end())
            end = len(text) if end < 0 else end
            if not is_template(text[match.end() : end]):
                yield match.end(), end
