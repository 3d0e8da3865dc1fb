"""The metadata database as the servers need it: there, and with the tables of the installed Airflow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from airflow_llm_provider.errors import ConfigurationError

__all__ = ["is_up_to_date", "migrate"]


def migrate(environment: Mapping[str, str]) -> None:
    """Bring the database to the version of the installed Airflow; an empty one gets its tables.

    Several may do it at once: Airflow lets one work and the others wait.

    Args:
        environment: The environment of Airflow's components.

    Raises:
        ConfigurationError: It cannot be done; the message has the last lines that Airflow wrote.
    """
    done = _airflow(environment, "db", "migrate")
    if done.returncode:
        raise ConfigurationError(f"the database cannot be brought up to date; Airflow says:\n{_end(done.stdout)}")


def is_up_to_date(environment: Mapping[str, str]) -> bool:
    """Tell whether the database has the tables of the installed Airflow; False also where it cannot be reached.

    Args:
        environment: The environment of Airflow's components.
    """
    return _airflow(environment, "db", "check-migrations", "--migration-wait-timeout", "0").returncode == 0


def _airflow(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "airflow", *arguments)
    return subprocess.run(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _end(text: str, lines: int = 12) -> str:
    return "\n".join(line for line in text.splitlines()[-lines:] if line.strip())
