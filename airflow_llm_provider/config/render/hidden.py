"""The last look at what is rendered: no file holds a secret, or what only stands for a variable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from airflow_llm_provider.config.render.placeholders import PLACEHOLDER
from airflow_llm_provider.config.secrets import leaves_of, secrets_of
from airflow_llm_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_llm_provider.config.render import Source

__all__ = ["password_in", "refuse_secrets"]

_PASSWORD = re.compile(r"://[^/?#]*?:([^/?#]+)@")
_WORD = 8
"""Characters below which a secret may as well be a word of the file."""


def password_in(text: str) -> str:
    """Give the part of a secret that nobody may see: of an address its password, which may be empty."""
    found = _PASSWORD.search(text)
    return text if "://" not in text else found[1] if found else ""


def refuse_secrets(source: Source, files: Mapping[str, str]) -> None:
    """See to it that files may be read by many.

    Args:
        source: What they are made from.
        files: Name to text.

    Raises:
        ConfigurationError: One holds a secret, or what stands for a variable.
    """
    troubles = [trouble for name, text in files.items() for trouble in _troubles(source, name, text)]
    if troubles:
        raise ConfigurationError("\n".join(troubles))


def _troubles(source: Source, name: str, text: str) -> Iterator[str]:
    for variable in sorted({*PLACEHOLDER.findall(text)}):
        yield f"{variable}: not set, and {name} would hold its value; set it, or write ${{{variable}:-default}}"
    # Airflow's own files have %% for %.
    plain = text.replace("%%", "%")
    for secret in sorted(_hidden(source)):
        found = re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", plain)
        if found is not None and not PLACEHOLDER.match(secret):
            line = plain[: found.start()].count("\n") + 1
            told = sorted(variable for variable, value in source.variables.items() if value and value in secret)
            whose = f", the value of {' or '.join(told)}" if told else ""
            yield (
                f"line {line} of {name} would hold a secret{whose}, and many may read it;"
                " no key but those for secrets may have it in its value"
            )


def _hidden(source: Source) -> set[str]:
    """Give all secrets, and the values of variables that are in one."""
    texts = (leaf for leaf in leaves_of(source.configuration) if isinstance(leaf, str) and "://" in leaf)
    whole = {password_in(secret) for secret in (*secrets_of(source.configuration), *texts)}
    parts = {value for value in source.variables.values() if any(value in secret for secret in whole)}
    return {form for secret in whole | parts for form in (secret, unquote(secret)) if len(form) >= _WORD}
