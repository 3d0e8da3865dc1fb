"""The Airflow settings that keep it whole under fan-out and quick for short steps, as data, each with its reason.

Airflow's own defaults are made for a few long tasks on a database server. LLM workflows are many short tasks, and the
local stand keeps its metadata in SQLite: with the defaults fifteen parallel tasks freeze the API server, and a step
costs a second of waiting. Whoever starts Airflow (the local stand, a rendered deployment) takes these tuples and turns
them into variables with :func:`environment`; nothing here imports Airflow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

__all__ = [
    "FAN_OUT",
    "LOCAL",
    "RESPONSIVE",
    "SECRET_OPTIONS",
    "Setting",
    "environment",
    "local_settings",
    "secret_settings",
]


@dataclass(frozen=True)
class Setting:
    """One Airflow option.

    Attributes:
        section: The section of ``airflow.cfg``.
        key: The option's name.
        value: Its value, as text.
        reason: Why it differs from Airflow's default, in one line.
    """

    section: str
    key: str
    value: str
    reason: str

    @property
    def variable(self) -> str:
        """The environment variable that sets the option."""
        return f"AIRFLOW__{self.section}__{self.key}".upper().replace(".", "_")


FAN_OUT = (
    Setting(
        "database",
        "sql_alchemy_pool_size",
        "20",
        "the API server answers up to 40 requests at once, each with a connection; the default 5 + 10 lets one"
        " authenticated request wait for a connection on the event loop, which stops all of them for 30 s"
        " (https://github.com/apache/airflow/issues/66493)",
    ),
    Setting("database", "sql_alchemy_max_overflow", "40", "with the pool more than the API server's 40 threads"),
)
"""Every deployment needs these: without them a fan-out of some fifteen tasks freezes the API server."""

RESPONSIVE = (
    Setting(
        "scheduler",
        "scheduler_idle_sleep_time",
        "0.2",
        "the next step is looked for this often; the default of 1 s is added to every step of a chain",
    ),
    Setting(
        "core",
        "lazy_load_plugins",
        "False",
        "the workers' parent loads the plugins once and its forks inherit them; lazily, every task loads them",
    ),
)
"""What makes a short step cheap."""

LOCAL = (
    Setting("core", "executor", "LocalExecutor", "tasks run on this machine, without a broker"),
    Setting(
        "core",
        "auth_manager",
        "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "one user with a generated password needs no user database",
    ),
    Setting("core", "simple_auth_manager_users", "admin:admin", "the one user, with the admin role"),
    Setting("core", "simple_auth_manager_all_admins", "False", "a password is asked for, on loopback too"),
    Setting("core", "load_examples", "False", "only the workflows are shown, and parsing stays short"),
    Setting("core", "max_active_tasks_per_dag", "64", "a wide workflow is held by the executor's slots only"),
    Setting("core", "min_serialized_dag_update_interval", "2", "an edit is stored at once, not after 30 s"),
    Setting("dag_processor", "refresh_interval", "5", "a new file is found within seconds, not after 5 minutes"),
    Setting("dag_processor", "bundle_refresh_check_interval", "2", "lets the refresh above happen on time"),
    Setting("dag_processor", "min_file_process_interval", "5", "an edited file is read within seconds, not after 30"),
    Setting("dag_processor", "stale_dag_threshold", "10", "a workflow whose file is gone soon leaves the list"),
    Setting("dag_processor", "parsing_processes", "1", "the few files of one folder need no second process"),
    Setting("scheduler", "orphaned_tasks_check_interval", "30", "work of a scheduler that was killed is taken up soon"),
    Setting(
        "scheduler",
        "task_instance_heartbeat_timeout",
        "60",
        "a task that was killed with its scheduler is seen after one minute, not after five",
    ),
    Setting("api", "host", "127.0.0.1", "reachable from this machine only"),
    Setting("logging", "logging_level", "INFO", "task logs show what a step did; DEBUG would show every poll"),
)
"""The stand on one machine: SQLite, one user, quick reactions to an edited file."""

SECRET_OPTIONS = {
    "fernet_key": ("core", "fernet_key", "connections in the database stay readable after a restart"),
    "jwt_secret": ("api_auth", "jwt_secret", "all components sign with one secret, and a login outlives a restart"),
    "secret_key": ("api", "secret_key", "sessions of the pages outlive a restart"),
}
"""Name of a secret to its section, its option and the reason why it is kept: Airflow makes new ones at every start."""


def local_settings(
    home: Path, dags_folder: Path, port: int, execution_port: int, passwords_file: Path
) -> tuple[Setting, ...]:
    """Give the settings of a stand on this machine, without its secrets.

    Args:
        home: The folder for database and logs; made absolute, for SQLite takes no relative path.
        dags_folder: Where the workflows are.
        port: The port of pages and API.
        execution_port: The port that tasks report to, on a server of its own: on SQLite, one that also serves pages and API
            stops for as long as a writer waits, because it waits on the event loop that the writer before it needs to end.
        passwords_file: JSON file of user name to password; when it exists already, Airflow prints no password.

    Returns:
        :data:`FAN_OUT`, :data:`RESPONSIVE`, :data:`LOCAL` and what depends on the place.
    """
    home, address = home.resolve(), f"http://127.0.0.1:{port}"
    slots = max(4, min(32, 4 * (os.cpu_count() or 1)))
    return (
        *FAN_OUT,
        *RESPONSIVE,
        *LOCAL,
        Setting(
            "database",
            "sql_alchemy_conn",
            f"sqlite:///{quote(str(home / 'airflow.db'), safe='/ ')}?timeout=60",
            "a writer waits up to 60 s for its turn; after the driver's 5 s 'database is locked' ends scheduler,"
            " triggerer and dag processor",
        ),
        Setting("core", "parallelism", str(slots), "four tasks a core: LLM steps wait more than they compute"),
        Setting("core", "dags_folder", str(dags_folder.resolve()), "where the workflows are"),
        Setting("core", "simple_auth_manager_passwords_file", str(passwords_file.resolve()), "kept out of every log"),
        Setting(
            "core",
            "execution_api_server_url",
            f"http://127.0.0.1:{execution_port}/execution/",
            "where tasks report: a server of its own, that no click in the pages can stop",
        ),
        Setting("api", "port", str(port), "chosen free, so that two stands do not meet"),
        Setting("api", "base_url", address, "links in the pages and logs lead to this port"),
        Setting("logging", "base_log_folder", str(home / "logs" / "tasks"), "task logs stay within the stand's folder"),
        Setting("dag_processor", "dag_bundle_storage_path", str(home / "bundles"), "nothing is left in /tmp"),
    )


def secret_settings(secrets: dict[str, str]) -> tuple[Setting, ...]:
    """Give the settings that hold secrets.

    Args:
        secrets: A value for every name of :data:`SECRET_OPTIONS`.
    """
    return tuple(
        Setting(section, key, secrets[name], reason) for name, (section, key, reason) in SECRET_OPTIONS.items()
    )


def environment(settings: Iterable[Setting]) -> dict[str, str]:
    """Turn settings into the variables that Airflow reads; a later setting wins over an earlier one."""
    return {setting.variable: setting.value for setting in settings}
