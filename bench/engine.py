"""The local engine: a chain and a fan of scripted steps, and one fan-out over as many items, for growing sizes.

The floor is asyncio itself: as many tasks that only sleep for no time. Growth is the time of ten times as many steps over the time
of one time as many; 10 is linear.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.workflow.model import Workflow
from dag_factory import read_text

SCRIPTED = "provider: scripted, model: m"


def chain(count: int) -> str:
    """Give a workflow whose steps quote the one before them."""
    steps = "".join(
        f"  - {{id: s{number}, {SCRIPTED}, prompt: 'step {number} {f'{{{{ steps.s{number - 1} }}}}' if number % 50 else ''}'}}\n"
        for number in range(count)
    )
    return f"name: chain\nsteps:\n{steps}"


def fan(count: int) -> str:
    """Give a workflow of steps that know nothing of each other."""
    steps = "".join(f"  - {{id: s{number}, {SCRIPTED}, prompt: step {number}}}\n" for number in range(count))
    return f"name: fan\nsteps:\n{steps}"


def fan_out(count: int) -> str:
    """Give a workflow of one step that runs another for each item."""
    return (
        f"name: fan-out\nsteps:\n  - id: all\n    type: orchestrator:fan-out\n    items: {[*range(count)]}\n"
        f"    max_concurrency: 100\n    task_template: {{{SCRIPTED}, prompt: 'item {{{{ item }}}}'}}\n"
    )


def read(text: str) -> Workflow:
    """Read a workflow."""
    result = read_text("bench.yaml", text)
    assert not result.errors, result.errors[0]
    return result.workflows[0]


async def run(workflow: Workflow) -> None:
    """Run a workflow to its end."""
    async with Runtime() as runtime:
        result = await run_workflow(workflow, {}, runtime)
    assert result.state == "completed", result.error


async def floor(count: int) -> None:
    """Run as many tasks that do nothing."""

    async def nothing() -> None:
        await asyncio.sleep(0)

    await asyncio.gather(*(nothing() for _ in range(count)))


def seconds(work: Callable[[], Awaitable[None]], times: int) -> float:
    """Give the median time of some work; the first, which warms up, does not count."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        asyncio.run(work())  # type: ignore[arg-type]
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure each size once")
    times = 1 if parser.parse_args().quick else 5
    for name, make in {"chain": chain, "fan": fan, "fan-out": fan_out}.items():
        small, large = read(make(100)), read(make(1000))
        little, much = seconds(lambda: run(small), times), seconds(lambda: run(large), times)  # noqa: B023
        least = seconds(lambda: floor(1000), times)
        print(
            f"{name} of 1,000 scripted steps: {much:.2f} s = {much:.2f} ms a step, {much / least:.0f} × the floor; "
            f"growth from 100: {much / little:.1f}"
        )


if __name__ == "__main__":
    main()
