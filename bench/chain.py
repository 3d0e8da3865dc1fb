"""What a step costs in Airflow without the model: a chain of ten and a fan of forty, while a client polls the API.

The simulator answers at once, so all that is measured is Airflow and this package. It starts an Airflow of its own.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Measured:
    """What was measured of one workflow.

    Attributes:
        per_step: Median of its runs, in seconds for each step.
        longest: The longest that a client waited for an answer of the API, in seconds.
    """

    per_step: float
    longest: float


def measure(api: AirflowAPI, dag_id: str, steps: int) -> Measured:
    """Run a workflow; the first run, which warms up, does not count."""
    waits: list[float] = []

    def look(run: DagRun) -> None:
        begun = time.perf_counter()
        api.task_instances(run)
        waits.append(time.perf_counter() - begun)

    times = []
    for _ in range(RUNS + 1):
        times.append(seconds(api.wait(api.trigger(dag_id), 300, interval=1.0, watch=look)))
        waits = waits if len(times) > 1 else []
    return Measured(statistics.median(times[1:]) / steps, max(waits))


def measured(variables: Mapping[str, str], port: int | None = None) -> dict[str, Measured]:
    """Start an Airflow of its own, and measure the chain and the fan.

    Args:
        variables: Environment variables that its components have besides.
        port: That of its API server.
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
        stand = Stand(Home(Path(name, "home")), dags, port, variables)
        found = {}
        try:
            stand.start()
            stand.wait_until_ready()
            with contextlib.closing(stand.api()) as api:
                while not {"chain", "fan"} <= {*api.dag_ids()}:
                    stand.check_alive()
                for dag_id, count in {"chain": 10, "fan": 40}.items():
                    api.unpause(dag_id)
                    found[dag_id] = measure(api, dag_id, count)
        finally:
            stand.stop()
        return found


def main() -> None:
    """Measure both."""
    for dag_id, one in measured({}).items():
        print(f"{dag_id}: {one.per_step:.2f} s a step; the longest answer of the API took {one.longest:.1f} s")


if __name__ == "__main__":
    main()
