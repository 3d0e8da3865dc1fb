"""Addresses are shown without what is secret in them."""

from __future__ import annotations

import pytest

from airflow_llm_provider.config import addresses as module
from airflow_llm_provider.config.addresses import holds_password, is_web_address, shown_address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:hunter@host:5432/name", "postgresql://user:***@host:5432/name"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
        ("postgresql://user:p@ssw0rd-hunter@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:12/hunter@host/db", "postgresql://***"),
        ("postgresql://user:p?hunter@host/db", "postgresql://***"),
        ("redis://:pa/hunter@host:6379", "redis://***"),
        ("redis://:hunter@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://:hunter", "redis://***"),
        ("sentinel://:hunter@one:1;sentinel://:hunter@two:1", "sentinel://***"),
        (
            "postgresql://host/db?user=u&password=hunter&sslmode=require",
            "postgresql://host/db?user=u&password=***&sslmode=require",
        ),
        ("redis://host?ssl_key_password=hunter", "redis://host?ssl_key_password=***"),
        ("postgresql://u@/d?host=/var/run", "postgresql://u@/d?host=/var/run"),
        ("sqlite:////folder/a@b.db", "sqlite:////folder/a@b.db"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("hunter", "***"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_address(url) == shown


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("https://user:hunter@host/path", True),
        ("https://token@host", True),
        ("s3://key:secret@bucket/folder", True),
        ("https://host/?api_key=x", True),
        ("ssh://git@host/team/flows", False),
        ("git@host:team/flows", False),
        ("https://host/package@1.2", False),
        ("s3://bucket/a:b@c", False),
        ("a text: with @ and ://", False),
    ],
)
def test_what_holds_a_password(text: str, holds: bool) -> None:
    assert holds_password(text) is holds


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("http://host:8080/path", True),
        ("https://[::1]", True),
        ("host:8080", False),
        ("ftp://host", False),
        ("http://", False),
        ("http://host:many", False),
        ("http://host:70000", False),
    ],
)
def test_what_is_asked_over_http(text: str, is_one: bool) -> None:
    assert is_web_address(text) is is_one


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
