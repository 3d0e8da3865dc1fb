"""One Airflow option or environment variable that follows from ``orchestrator.yaml``, with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Setting", "Variable", "environment"]


@dataclass(frozen=True)
class Setting:
    """One Airflow option.

    Attributes:
        section: The section of ``airflow.cfg``.
        key: The option's name.
        value: Its value, as text.
        reason: What it is for, or why it differs from Airflow's default, in one line.
        source: The key of ``orchestrator.yaml`` that it follows from; empty if it is the same whatever the file says.
        is_secret: Whether nobody may read the value.
    """

    section: str
    key: str
    value: str
    reason: str
    source: str = ""
    is_secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets the option."""
        return f"AIRFLOW__{self.section}__{self.key}".upper().replace(".", "_")


@dataclass(frozen=True)
class Variable:
    """One environment variable that is no Airflow option.

    Attributes:
        variable: Its name.
        value: Its value.
        reason: What it is for.
        source: The key of ``orchestrator.yaml`` that it follows from; empty if it is the same whatever the file says.
        is_secret: Whether nobody may read the value.
    """

    variable: str
    value: str
    reason: str
    source: str = ""
    is_secret: bool = False


def environment(settings: Iterable[Setting | Variable]) -> dict[str, str]:
    """Turn settings into the variables that Airflow reads; a later setting wins over an earlier one."""
    return {setting.variable: setting.value for setting in settings}
