"""The part of ``orchestrator.yaml`` that running steps needs.

The file's place is given on the command line, by the Airflow option ``[llm_provider] config_file``, or by the variable
``ORCHESTRATOR_CONFIG``. Its texts may hold ``${VAR}``; an unset variable counts as empty.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.money import Budget, Price
from airflow_llm_provider.config.resilience import CircuitBreaker, RateLimit
from airflow_llm_provider.config.targets import BUILT_IN_ACTIONS, ActionTarget, Alerts, Slack, Smtp, Storage
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.workflow.durations import parse_duration
from airflow_llm_provider.workflow.model import Retry

__all__ = ["Settings", "airflow_home", "load_settings"]

_ACTION = re.compile(r"[A-Za-z0-9_.-]+")

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def airflow_home() -> Path:
    """Give the folder that Airflow keeps its things in: ``AIRFLOW_HOME``, else ``~/airflow``, as Airflow has it."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()


class Settings(BaseModel):
    """What running steps needs to know.

    Attributes:
        retry: The retry rule of steps that have none of their own.
        task_timeout: Seconds that one try of a step may take when the step says nothing; None means no limit.
        api_keys: Provider to API key.
        endpoints: Provider to the root of its API.
        environment: The environment's name, ``system.environment`` in references.
        outbox: Folder where actions without a target are kept.
        metrics: Folder where recorded metrics are kept.
        actions: Name of an action to what it does.
        alerts: Where alerts go.
        slack: Where Slack's messages go.
        smtp: The mail server.
        storage: How object storage is reached.
        cache: Where answers are kept that may be given again; Redis, if it is one, also holds what processes share.
        circuit_breaker: When a model that fails again and again is left alone.
        rate_limits: How often models may be asked.
        prices: What models cost, where the price list does not say, or says something else.
        budgets: How much may be spent.
        state: Folder where the processes of one machine keep what they share, if there is no Redis.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    retry: Retry = Retry()
    task_timeout: float | None = None
    api_keys: Mapping[str, SecretStr] = Field(default_factory=dict)
    endpoints: Mapping[str, str] = Field(default_factory=dict)
    environment: str = Field(default_factory=lambda: os.environ.get("ORCHESTRATOR_ENVIRONMENT", ""))
    outbox: Path = Field(default_factory=lambda: airflow_home() / "llm" / "outbox")
    metrics: Path = Field(default_factory=lambda: airflow_home() / "llm" / "metrics")
    actions: Mapping[str, ActionTarget] = Field(default_factory=dict)
    alerts: Alerts = Alerts()
    slack: Slack = Slack()
    smtp: Smtp = Smtp()
    storage: Storage = Storage()
    cache: CacheSettings = CacheSettings()
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    rate_limits: tuple[RateLimit, ...] = ()
    prices: tuple[Price, ...] = ()
    budgets: tuple[Budget, ...] = ()
    state: Path = Field(default_factory=lambda: airflow_home() / "llm")

    @field_validator("actions")
    @classmethod
    def _names_of_its_own(cls, actions: Mapping[str, ActionTarget]) -> Mapping[str, ActionTarget]:
        for name in actions:
            if name in BUILT_IN_ACTIONS:
                raise ValueError(f"{name!r} is built in; give the action another name")
            if not _ACTION.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an action; use letters, digits, '_', '.' and '-'")
        return actions

    @field_validator("budgets")
    @classmethod
    def _told_apart(cls, budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
        titles = [budget.title for budget in budgets]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"two budgets are called {title!r}; give each a 'name' of its own")
        return budgets


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the settings.

    Args:
        path: The file; None means ``ORCHESTRATOR_CONFIG``, and without that the defaults.

    Raises:
        ConfigurationError: The file cannot be read or holds something else than the settings' types.
    """
    chosen = path or os.environ.get("ORCHESTRATOR_CONFIG")
    if not chosen:
        return Settings()
    import yaml

    try:
        document = yaml.safe_load(Path(chosen).read_text(encoding="utf-8")) or {}
        return _settings_of(_expand(document))
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration {chosen}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        # The library's own text has the line, which may hold a key.
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{chosen}{line}: not YAML: {error.problem}") from None
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        told = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}" for item in wrong
        )
        raise ConfigurationError(f"{chosen}: {told}") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{chosen}: {error}") from None


def _settings_of(document: Any) -> Settings:
    retry = _section(document, "fault_tolerance", "retry")
    forge = _section(document, "integrations", "llm_forge")
    keys = {**_section(document, "integrations", "llm_forge", "api_keys"), "llm-forge": forge.get("token")}
    given: dict[str, Any] = {
        "retry": Retry(
            max_attempts=int(retry.get("default_max_attempts", 3)),
            multiplier=float(retry.get("default_backoff_multiplier", 2.0)),
            initial_delay=parse_duration(retry.get("default_initial_interval", 1.0)),
            max_delay=parse_duration(retry.get("default_max_interval", 30.0)),
        )
        if retry
        else Retry(),
        "api_keys": {name: key for name, key in keys.items() if key},
        "endpoints": {"llm-forge": forge["endpoint"]} if forge.get("endpoint") else {},
        "circuit_breaker": _section(document, "fault_tolerance", "circuit_breaker"),
        **{name: document.get(name) or () for name in ("rate_limits", "prices", "budgets")},
        **{name: _section(document, name) for name in ("actions", "alerts", "slack", "smtp", "storage", "cache")},
    }
    timeout = _section(document, "execution", "executor").get("task_timeout")
    if timeout is not None:
        given["task_timeout"] = parse_duration(timeout)
    return Settings(**given)


def _section(document: Any, *keys: str) -> Mapping[str, Any]:
    current = document
    if not isinstance(current, dict):
        raise ValueError("the file must be a mapping")
    for key in keys:
        current = current.get(key) or {}
        if not isinstance(current, dict):
            raise ValueError(f"{'.'.join(keys)} must be a mapping")
    return dict(current)


def _expand(value: Any) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: os.environ.get(match[1], ""), value)
    if isinstance(value, dict):
        return {key: _expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item) for item in value]
    return value
