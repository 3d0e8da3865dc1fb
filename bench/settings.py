"""What the settings that every mode ships gain: the same chain and fan, with each of them put back to Airflow's own.

The longest answer is that of the API to the clients that watch, which stand for people with the pages open.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from unittest import mock

from chain import Measured, measured

from airflow_llm_provider.cli import stand
from airflow_llm_provider.cli.supervision import Component
from airflow_llm_provider.config.configuration import Configuration

POOL = {"AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "5", "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "10"}
DEFAULTS = {
    "scheduler.scheduler_idle_sleep_time = 1": {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1"},
    "core.lazy_load_plugins = True": {"AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "True"},
    "database.sql_alchemy_pool_size = 5, max_overflow = 10": POOL,
}
WIDE = {"AIRFLOW__CORE__PARALLELISM": "48"}
REAL = stand.components


def one_server(configuration: Configuration) -> tuple[Component, ...]:
    """Give the components with one API server for pages and tasks, as Airflow has it."""
    pages, _, *others = REAL(configuration)
    command = tuple("all" if part == "core" else part for part in pages.command)
    return (replace(pages, command=command, probes=pages.probes[:1]), *others)


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def main() -> None:
    """Measure all."""
    shipped = measured({})
    told("as shipped", shipped, shipped)
    for name, variables in DEFAULTS.items():
        told(name, measured(variables), shipped)
    port = free_port()
    address = {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/"}
    # What a crowd does to the API server shows with more tasks at once than it has threads.
    crowd = measured(WIDE, watchers=8)
    told("48 slots, 8 clients: as shipped", crowd, crowd)
    with mock.patch.object(stand, "components", one_server):
        told("48 slots, 8 clients: one API server", measured({**WIDE, **address}, port, 8), crowd)
        told(
            "48 slots, 8 clients: one API server, Airflow's pool", measured({**WIDE, **address, **POOL}, port, 8), crowd
        )


def told(name: str, found: dict[str, Measured], shipped: dict[str, Measured]) -> None:
    """Print a line."""
    parts = (f"{dag_id} {one.per_step / shipped[dag_id].per_step:.1f} x ({one})" for dag_id, one in found.items())
    print(f"{name:55} {'; '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
