"""What a server was started as, kept in its home as ``started.json``: for those who ask later how it is doing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from airflow_llm_provider.cli.files import write_atomically
from airflow_llm_provider.config.airflow_settings import settings_of
from airflow_llm_provider.config.configuration import Configuration

__all__ = ["Started", "digests"]


@dataclass(frozen=True)
class Started:
    """The server that was started last from a home.

    Attributes:
        mode: Its mode.
        settings: A digest of each of its settings that is no secret, by the setting's variable.
    """

    mode: str
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, home: Path) -> Started | None:
        """Give what was started; None when nothing was yet.

        Args:
            home: The home.
        """
        try:
            return cls(**json.loads((home / "started.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError):
            # One that an earlier version has written holds something else.
            return None

    def applied(self, configuration: Configuration) -> Configuration:
        """Give the configuration in the mode of the server, which may have been named on its command line.

        Args:
            configuration: What ``orchestrator.yaml`` says.
        """
        server = configuration.server.model_copy(update={"mode": self.mode})
        return configuration.model_copy(update={"server": server})

    def write(self, home: Path) -> None:
        """Keep it.

        Args:
            home: The home.
        """
        write_atomically(home / "started.json", json.dumps(asdict(self)))


def digests(configuration: Configuration) -> dict[str, str]:
    """Give a digest of each setting that a server is started with and that is no secret, by its variable.

    Args:
        configuration: What ``orchestrator.yaml`` says.
    """
    shown = [setting for setting in settings_of(configuration) if not setting.is_secret]
    return {setting.variable: hashlib.sha256(setting.value.encode()).hexdigest()[:16] for setting in shown}
