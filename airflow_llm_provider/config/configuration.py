"""All of ``orchestrator.yaml`` as one model: each section is a module of this package, and this is what they make together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from airflow_llm_provider.config.airflow_options import AirflowOptions, with_secrets_hidden
from airflow_llm_provider.config.caching import CacheSettings
from airflow_llm_provider.config.database import Database, sqlite_file
from airflow_llm_provider.config.execution import Execution
from airflow_llm_provider.config.integrations import Integrations
from airflow_llm_provider.config.kubernetes import Kubernetes
from airflow_llm_provider.config.money import Budget, Price
from airflow_llm_provider.config.observability import Observability
from airflow_llm_provider.config.resilience import FaultTolerance, RateLimit
from airflow_llm_provider.config.section import FilePath, Section
from airflow_llm_provider.config.security import Security
from airflow_llm_provider.config.server import Edge, Server, Workflows
from airflow_llm_provider.config.settings import Settings, airflow_home, check_action_names, check_budget_titles
from airflow_llm_provider.config.targets import ActionTarget, Alerts, Slack, Smtp, Storage
from airflow_llm_provider.config.topology import Topology
from airflow_llm_provider.workflow.model import Retry

__all__ = ["Configuration"]


class Configuration(Section):
    """What one ``orchestrator.yaml`` says.

    Attributes:
        environment: The environment's name, ``system.environment`` in references.
        home: Folder for what is kept on this machine: SQLite, logs, generated secrets, outbox, recorded metrics. By default
            ``AIRFLOW_HOME``.
        workflows: The workflow files.
        server: The processes.
        database: The metadata database.
        cache: Where answers are kept that may be given again; a Redis also holds what processes share.
        execution: How much runs at once, and where.
        fault_tolerance: What fails is tried again.
        rate_limits: How often models may be asked.
        prices: What models cost, where the price list does not say, or says something else.
        budgets: How much may be spent.
        integrations: The services of LLM-Orchestrator, and the providers' keys.
        actions: Name of an action to what it does.
        alerts: Where alerts go.
        slack: Where Slack's messages go.
        smtp: The mail server.
        storage: How object storage is reached.
        observability: Logs, metrics and traces.
        security: Who may do what.
        edge: Another site.
        topology: The machines of a distributed system.
        kubernetes: A cluster.
        airflow: Section to option to value, for Airflow options that nothing here stands for. They win over all others.
    """

    environment: str = Field(default_factory=lambda: os.environ.get("ORCHESTRATOR_ENVIRONMENT", ""))
    home: FilePath = Field(default_factory=airflow_home)
    workflows: Workflows = Workflows()
    server: Server = Server()
    database: Database = Database()
    cache: CacheSettings = CacheSettings()
    execution: Execution = Field(default_factory=Execution)
    fault_tolerance: FaultTolerance = FaultTolerance()
    rate_limits: tuple[RateLimit, ...] = ()
    prices: tuple[Price, ...] = ()
    budgets: tuple[Budget, ...] = ()
    integrations: Integrations = Integrations()
    actions: Mapping[str, ActionTarget] = Field(default_factory=dict)
    alerts: Alerts = Alerts()
    slack: Slack = Slack()
    smtp: Smtp = Smtp()
    storage: Storage = Storage()
    observability: Observability = Observability()
    security: Security = Security()
    edge: Edge = Edge()
    topology: Topology = Topology()
    kubernetes: Kubernetes = Kubernetes()
    airflow: AirflowOptions = Field(default_factory=dict)

    _actions = field_validator("actions")(check_action_names)
    _budgets = field_validator("budgets")(check_budget_titles)
    _options = field_validator("airflow")(with_secrets_hidden)

    @field_validator("home", mode="before")
    @classmethod
    def _own_home(cls, home: object) -> object:
        return home or airflow_home()

    @property
    def executor(self) -> str:
        """The executor's type, also where it is ``auto``."""
        chosen = self.execution.executor.type
        if chosen != "auto":
            return chosen
        return "local" if self.server.mode in ("standalone", "edge-worker") else "celery"

    @property
    def dags_folder(self) -> Path:
        """Where the workflow files are."""
        return self.workflows.folder or self.home / "dags"

    @property
    def sqlite_file(self) -> Path | None:
        """The file of the metadata database; None where that is no SQLite."""
        if self.database.kind != "sqlite":
            return None
        url = self.database.url
        return sqlite_file(url.get_secret_value()) if url else self.home / "airflow.db"

    @property
    def broker(self) -> str | None:
        """The URL of the queue; a secret."""
        url = self.execution.queue.url or (self.cache.url if self.cache.type == "redis" else None)
        return url.get_secret_value() if url else None

    @property
    def keeps_results_in_database(self) -> bool:
        """Whether workers tell the metadata database how a task has ended, and not the queue or another place."""
        backend, broker = self.execution.queue.result_backend, self.broker or ""
        if backend is not None:
            return backend.get_secret_value().startswith("db+")
        return not broker.startswith(("redis", "unix"))

    def with_keys(self, make: Callable[[str], str]) -> Configuration:
        """Give it with the keys that it does not name.

        Args:
            make: Gives the key of a name: ``jwt_secret``, ``fernet_key`` or ``session_key``.
        """
        security = self.security
        signs = security.authentication.jwt_secret or SecretStr(make("jwt_secret"))
        others = {name: getattr(security, name) or SecretStr(make(name)) for name in ("fernet_key", "session_key")}
        authentication = security.authentication.model_copy(update={"jwt_secret": signs})
        security = security.model_copy(update={"authentication": authentication, **others})
        return self.model_copy(update={"security": security})

    def settings(self) -> Settings:
        """Give what running steps needs of it."""
        retry, forge = self.fault_tolerance.retry, self.integrations.llm_forge
        keys = {**forge.api_keys, "llm-forge": forge.token}
        return Settings(
            retry=Retry(
                max_attempts=retry.default_max_attempts,
                multiplier=retry.default_backoff_multiplier,
                initial_delay=retry.default_initial_interval,
                max_delay=retry.default_max_interval,
            ),
            task_timeout=self.execution.executor.task_timeout,
            blocking_threads=self.execution.executor.max_blocking_threads,
            api_keys={name: key for name, key in keys.items() if key},
            endpoints={"llm-forge": forge.endpoint} if forge.endpoint else {},
            timeouts={"llm-forge": forge.timeout} if forge.timeout else {},
            environment=self.environment,
            outbox=self.home / "llm" / "outbox",
            metrics=self.home / "llm" / "metrics",
            state=self.home / "llm",
            actions=self.actions,
            alerts=self.alerts,
            slack=self.slack,
            smtp=self.smtp,
            storage=self.storage,
            cache=self.cache,
            checkpoint=self.fault_tolerance.checkpoint,
            circuit_breaker=self.fault_tolerance.circuit_breaker,
            rate_limits=self.rate_limits,
            prices=self.prices,
            budgets=self.budgets,
        )
