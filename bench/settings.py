"""What the settings that every mode ships gain: the same chain and fan, with each of them put back to Airflow's default."""

from __future__ import annotations

from chain import per_step

DEFAULTS = {
    "scheduler.scheduler_idle_sleep_time = 1": {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1"},
    "core.lazy_load_plugins = True": {"AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "True"},
    "database.sql_alchemy_pool_size = 5, max_overflow = 10": {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "5",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "10",
    },
}


def main() -> None:
    shipped = per_step({})
    print(f"{'as shipped':55} " + "  ".join(f"{dag_id} {taken:.2f} s a step" for dag_id, taken in shipped.items()))
    for name, variables in DEFAULTS.items():
        found = per_step(variables)
        told = "  ".join(f"{dag_id} {taken:.2f} s ({taken / shipped[dag_id]:.1f} x)" for dag_id, taken in found.items())
        print(f"{name:55} {told}", flush=True)


if __name__ == "__main__":
    main()
