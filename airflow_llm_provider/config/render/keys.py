"""What a cluster has made once: the keys that Airflow signs and encrypts with, and the users' passwords.

With other keys, what is encrypted in the database could not be read any more, so they are in Secrets of their own, which are made
by ``kubectl create`` and left alone when the others are applied again.
"""

from __future__ import annotations

import json
import secrets

from airflow_llm_provider.config.render import Source
from airflow_llm_provider.config.render.secrets import PASSWORDS, manifests, to_make, users
from airflow_llm_provider.config.security import new_fernet_key

__all__ = ["files"]


def files(source: Source) -> dict[str, str]:
    """Give the Secrets with what the file does not name; nothing of it should be kept."""
    configuration = source.configuration
    password = configuration.security.authentication.admin_password
    given = {"admin": password.get_secret_value()} if password else {}
    made = {
        "fernet-key": new_fernet_key(),
        PASSWORDS: json.dumps({user: given.get(user) or secrets.token_urlsafe(12) for user in users(configuration)}),
    }
    held = {
        name: {entry: made.get(entry) or secrets.token_urlsafe(48) for entry in wanted}
        for name, wanted in to_make(source).items()
    }
    return {"keys.yaml": manifests(configuration, held)}
