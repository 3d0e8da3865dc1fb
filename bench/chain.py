"""What a step costs in Airflow without the model: a chain of ten and a fan of forty, while a client polls the API.

The simulator answers at once, so all that is measured is Airflow and this package. It starts an Airflow of its own.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_llm_provider.cli.airflow_api import AirflowAPI, AirflowAPIError, DagRun
from airflow_llm_provider.cli.home import Home
from airflow_llm_provider.cli.stand import Stand

ROOT = Path(__file__).parent.parent
RUNS = 5


def step(number: int, before: str) -> str:
    """Give one LLM step that quotes the one before it."""
    return f"  - {{id: s{number}, type: llm, provider: openai, model: gpt-4o-mini, prompt: 'step {number} after {before}'}}\n"


def seconds(run: DagRun) -> float:
    """Give how long a run took by Airflow's own clock."""
    assert run.started is not None
    assert run.ended is not None
    return (run.ended - run.started).total_seconds()


def end(api: AirflowAPI, run: DagRun) -> DagRun:
    """Wait until a run has ended, also while the API does not answer."""
    for _ in range(10):
        with contextlib.suppress(AirflowAPIError):
            return api.wait(run, 300, interval=1.0)
    raise SystemExit(f"{run.run_id} of {run.dag_id} does not end")


@dataclass(frozen=True)
class Measured:
    """What was measured of one workflow.

    Attributes:
        per_step: Median of its runs, in seconds for each step.
        longest: The longest that a client waited for an answer of the API, in seconds.
        failed: Whether a run failed, which ended the measurement.
    """

    per_step: float
    longest: float
    failed: bool

    def __str__(self) -> str:
        told = f"{self.per_step:.2f} s a step, longest answer {self.longest:.1f} s"
        return f"{told}, and a run failed" if self.failed else told


def measure(stand: Stand, dag_id: str, steps: int, watchers: int) -> Measured:
    """Run a workflow while clients look at its tasks; the first run, which warms up, does not count."""
    waits: list[float] = []
    ended = threading.Event()

    def look(run: DagRun) -> None:
        with contextlib.closing(stand.api()) as api:
            while not ended.wait(0.5):
                begun = time.perf_counter()
                with contextlib.suppress(AirflowAPIError):
                    api.task_instances(run)
                waits.append(time.perf_counter() - begun)

    runs = []
    with contextlib.closing(stand.api()) as api:
        for _ in range(RUNS + 1):
            ended.clear()
            run = api.trigger(dag_id)
            threads = [threading.Thread(target=look, args=(run,)) for _ in range(watchers)]
            for thread in threads:
                thread.start()
            runs.append(end(api, run))
            ended.set()
            for thread in threads:
                thread.join()
            if runs[-1].state != "success":
                return Measured(seconds(runs[-1]) / steps, max(waits), True)
            if len(runs) == 1:
                waits.clear()
    return Measured(statistics.median(seconds(run) for run in runs[1:]) / steps, max(waits), False)


def measured(variables: Mapping[str, str], port: int | None = None, watchers: int = 1) -> dict[str, Measured]:
    """Start an Airflow of its own, and measure the chain and the fan.

    Args:
        variables: Environment variables that its components have besides.
        port: That of its API server.
        watchers: How many clients ask for the tasks of a run, twice a second each.
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
                    found[dag_id] = measure(stand, dag_id, count, watchers)
        finally:
            stand.stop()
        return found


def main() -> None:
    """Measure both."""
    for dag_id, one in measured({}).items():
        print(f"{dag_id}: {one}")


if __name__ == "__main__":
    main()
