"""The part of ``orchestrator.yaml`` that running steps needs.

The file's place is given on the command line, by the Airflow option ``[llm_provider] config_file``, or by the variable
``ORCHESTRATOR_CONFIG``; :mod:`airflow_llm_provider.config.configuration` is all of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.money import Budget, Price
from airflow_llm_provider.config.resilience import Checkpoint, CircuitBreaker, RateLimit
from airflow_llm_provider.config.targets import BUILT_IN_ACTIONS, ActionTarget, Alerts, Slack, Smtp, Storage
from airflow_llm_provider.workflow.model import Retry

__all__ = ["Settings", "airflow_home", "check_action_names", "check_budget_titles", "load_settings"]

_ACTION = re.compile(r"[A-Za-z0-9_.-]+")


def airflow_home() -> Path:
    """Give the folder that Airflow keeps its things in: ``AIRFLOW_HOME``, else ``~/airflow``, as Airflow has it."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()


def check_action_names(actions: Mapping[str, ActionTarget]) -> Mapping[str, ActionTarget]:
    """Refuse names that an action cannot have.

    Raises:
        ValueError: One is built in, or is no name.
    """
    for name in actions:
        if name in BUILT_IN_ACTIONS:
            raise ValueError(f"{name!r} is built in; give the action another name")
        if not _ACTION.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an action; use letters, digits, '_', '.' and '-'")
    return actions


def check_budget_titles(budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
    """Refuse budgets that cannot be told apart.

    Raises:
        ValueError: Two have the same title.
    """
    titles = [budget.title for budget in budgets]
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"two budgets are called {title!r}; give each a 'name' of its own")
    return budgets


class Settings(BaseModel):
    """What running steps needs to know.

    Attributes:
        retry: The retry rule of steps that have none of their own.
        blocking_threads: Most threads of one task for what cannot wait by itself; None means Python's own choice.
        task_timeout: Seconds that one try of a step may take when the step says nothing; None means no limit.
        api_keys: Provider to API key.
        endpoints: Provider to the root of its API.
        timeouts: Provider to the seconds that one call of it may take.
        environment: The environment's name, ``system.environment`` in references.
        outbox: Folder where actions without a target are kept.
        metrics: Folder where recorded metrics are kept.
        actions: Name of an action to what it does.
        alerts: Where alerts go.
        slack: Where Slack's messages go.
        smtp: The mail server.
        storage: How object storage is reached.
        cache: Where answers are kept that may be given again; Redis, if it is one, also holds what processes share.
        checkpoint: How what has been paid for is kept.
        circuit_breaker: When a model that fails again and again is left alone.
        rate_limits: How often models may be asked.
        prices: What models cost, where the price list does not say, or says something else.
        budgets: How much may be spent.
        state: Folder where the processes of one machine keep what they share, if there is no Redis.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    retry: Retry = Retry()
    task_timeout: float | None = None
    blocking_threads: int | None = None
    api_keys: Mapping[str, SecretStr] = Field(default_factory=dict)
    endpoints: Mapping[str, str] = Field(default_factory=dict)
    timeouts: Mapping[str, float] = Field(default_factory=dict)
    environment: str = Field(default_factory=lambda: os.environ.get("ORCHESTRATOR_ENVIRONMENT", ""))
    outbox: Path = Field(default_factory=lambda: airflow_home() / "llm" / "outbox")
    metrics: Path = Field(default_factory=lambda: airflow_home() / "llm" / "metrics")
    actions: Mapping[str, ActionTarget] = Field(default_factory=dict)
    alerts: Alerts = Alerts()
    slack: Slack = Slack()
    smtp: Smtp = Smtp()
    storage: Storage = Storage()
    cache: CacheSettings = CacheSettings()
    checkpoint: Checkpoint = Checkpoint()
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    rate_limits: tuple[RateLimit, ...] = ()
    prices: tuple[Price, ...] = ()
    budgets: tuple[Budget, ...] = ()
    state: Path = Field(default_factory=lambda: airflow_home() / "llm")

    _actions = field_validator("actions")(check_action_names)
    _budgets = field_validator("budgets")(check_budget_titles)


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the settings.

    Args:
        path: The file; None means ``ORCHESTRATOR_CONFIG``, and without that the defaults.

    Raises:
        ConfigurationError: The file cannot be read, or something in it is wrong; the message has all that is.
    """
    chosen = path or os.environ.get("ORCHESTRATOR_CONFIG")
    if not chosen:
        return Settings()
    # Steps that are configured by nothing need not know of all that could be.
    from airflow_llm_provider.config.reading import read_configuration

    return read_configuration(Path(chosen)).valid().settings()
