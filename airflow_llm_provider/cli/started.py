"""What a server was started as, kept in its home as ``started.json``: for those who ask later how it is doing."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, SecretStr

from airflow_llm_provider.cli.files import write_atomically
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["Started"]

_PACKAGES = ("apache-airflow-core", "airflow-llm-provider")


@dataclass(frozen=True)
class Started:
    """The server that was started last from a home.

    Attributes:
        mode: Its mode.
        salt: What the digests are made with, in hexadecimal.
        settings: A digest of each value of its ``orchestrator.yaml``, and of the version of each package that makes Airflow's
            settings of them.
    """

    mode: str
    salt: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, configuration: Configuration) -> Started:
        """Give the server that is started from a configuration.

        Args:
            configuration: What ``orchestrator.yaml`` says, without keys that are made.
        """
        salt = secrets.token_hex(16)
        return cls(configuration.server.mode, salt, _digests(configuration, salt))

    @classmethod
    def read(cls, home: Path) -> Started | None:
        """Give what was started; None when nothing was yet.

        Args:
            home: The home.

        Raises:
            ConfigurationError: The file belongs to somebody else.
        """
        file = home / "started.json"
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError):
            # One that an earlier version has written holds something else.
            return None
        except OSError as error:
            raise ConfigurationError(
                f"{file} cannot be read ({error.strerror}); run this as the user of the server"
            ) from error

    def applied(self, configuration: Configuration) -> Configuration:
        """Give the configuration in the mode of the server, which may have been named on its command line.

        Args:
            configuration: What ``orchestrator.yaml`` says.
        """
        server = configuration.server.model_copy(update={"mode": self.mode})
        return configuration.model_copy(update={"server": server})

    def changed(self, configuration: Configuration) -> list[str]:
        """Name what is different now: keys, and packages.

        Args:
            configuration: What ``orchestrator.yaml`` says.
        """
        then, now = self.settings, _digests(self.applied(configuration), self.salt)
        return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))

    def write(self, home: Path) -> None:
        """Keep it, readable by the owner only: whoever has the salt can try out which secret has a digest.

        Args:
            home: The home.
        """
        write_atomically(home / "started.json", json.dumps(asdict(self)), mode=0o600)


def _digests(configuration: Configuration, salt: str) -> dict[str, str]:
    values = {**dict(_leaves(configuration, "")), **{name: version(name) for name in _PACKAGES}}
    key = bytes.fromhex(salt)
    return {name: hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16] for name, value in values.items()}


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Give all single values that a model holds, secrets too, with their dotted keys."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]")
    else:
        yield path, value.get_secret_value() if isinstance(value, SecretStr) else str(value)
