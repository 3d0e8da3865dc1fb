"""What a step costs in Airflow without the model: a chain of ten and a fan of forty, while a client polls the API.

The simulator answers at once, so all that is measured is Airflow and this package. It starts an Airflow of its own.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from airflow_llm_provider.cli.airflow_api import AirflowAPI, DagRun
from airflow_llm_provider.cli.home import Home
from airflow_llm_provider.cli.stand import Stand

ROOT = Path(__file__).parent.parent
RUNS = 5


def step(number: int, before: str) -> str:
    """Give one LLM step that quotes the one before it."""
    return f"  - {{id: s{number}, type: llm, provider: openai, model: gpt-4o-mini, prompt: 'step {number} after {before}'}}\n"


def seconds(run: DagRun) -> float:
    """Give how long a run took by Airflow's own clock."""
    assert run.state == "success", run
    assert run.started is not None
    assert run.ended is not None
    return (run.ended - run.started).total_seconds()


def measure(api: AirflowAPI, dag_id: str) -> float:
    """Give the median time of a run; the first, which warms up, does not count."""

    def look(run: DagRun) -> None:
        api.task_instances(run)

    times = [seconds(api.wait(api.trigger(dag_id), 300, interval=1.0, watch=look)) for _ in range(RUNS + 1)]
    return statistics.median(times[1:])


def per_step(variables: Mapping[str, str]) -> dict[str, float]:
    """Start an Airflow of its own; give the seconds of a step of the chain and of the fan.

    Args:
        variables: Environment variables that its components have besides.
    """
    with tempfile.TemporaryDirectory() as name:
        dags = Path(name, "dags")
        dags.mkdir()
        shutil.copy(ROOT / "dags" / "load_workflows.py", dags)
        chain = "".join(
            step(number, f"{{{{ steps.s{number - 1}.output }}}}" if number else "none") for number in range(10)
        )
        (dags / "chain.yaml").write_text(f"name: chain\nsteps:\n{chain}")
        fan = "".join(step(number, "none") for number in range(40))
        (dags / "fan.yaml").write_text(f"name: fan\nsteps:\n{fan}")
        stand = Stand(Home(Path(name, "home")), dags, variables=variables)
        found = {}
        try:
            stand.start()
            stand.wait_until_ready()
            with contextlib.closing(stand.api()) as api:
                while not {"chain", "fan"} <= {*api.dag_ids()}:
                    stand.check_alive()
                for dag_id, count in {"chain": 10, "fan": 40}.items():
                    api.unpause(dag_id)
                    found[dag_id] = measure(api, dag_id) / count
        finally:
            stand.stop()
        return found


def main() -> None:
    for dag_id, taken in per_step({}).items():
        print(f"{dag_id}: {taken:.2f} s a step")


if __name__ == "__main__":
    main()
