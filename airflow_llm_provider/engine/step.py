"""``run_step``: the only place where a step is executed.

The local engine and every Airflow face come here, so conditions, inputs, retries, time limits, outputs and accounting mean the
same wherever a step runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from airflow_llm_provider.accounting.usage import StepUsage
from airflow_llm_provider.clients.failures import knowing
from airflow_llm_provider.engine.cut_off import cut_offs
from airflow_llm_provider.engine.executor import Executor, StepContext, find_executor
from airflow_llm_provider.engine.masking import hide
from airflow_llm_provider.engine.meter import Meter
from airflow_llm_provider.engine.result import StepResult
from airflow_llm_provider.engine.retry import retrying
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.engine.scope import Scope
from airflow_llm_provider.errors import InvalidRequest, Postponed, TimeoutError
from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.model import Step
from airflow_llm_provider.workflow.templates import render

__all__ = ["is_wanted", "outputs_of_failed", "render_inputs", "run_step", "validated_inputs"]


def render_inputs(step: Step, scope: Scope) -> dict[str, Any]:
    """Resolve the templates in a step's inputs.

    Args:
        step: The step.
        scope: What references resolve to.

    Raises:
        ExpressionError: A template cannot be evaluated.
    """
    return {name: _rendered(name, value, step, scope) for name, value in step.inputs.items()}


def _rendered(name: str, value: Any, step: Step, scope: Scope) -> Any:
    if name in step.conditions and isinstance(value, (str, bool, int, float)):
        return parse_condition(value, scope.names.is_known).value(scope)
    return render(value, scope)


def is_wanted(step: Step, scope: Scope) -> bool:
    """Tell whether a step's condition, and those of the groups and branches that it stands in, hold.

    Args:
        step: The step.
        scope: What references resolve to.

    Raises:
        ExpressionError: A condition cannot be evaluated.
    """
    return all(
        parse_condition(gate.condition, scope.names.is_known).evaluate(scope) is not gate.negated
        for gate in step.wanted
    )


async def run_step(
    step: Step,
    scope: Scope,
    runtime: Runtime,
    *,
    when_cancelled: Callable[[StepResult], None] | None = None,
    tried: int = 0,
    spent: StepUsage | None = None,
) -> StepResult:
    """Run one step to its end: condition, inputs, tries, outputs.

    Args:
        step: The step.
        scope: What its references resolve to; the steps it waits for have ended.
        runtime: Clients, settings and the observer.
        when_cancelled: Takes the result of a step that is cancelled, which raises.
        tried: Tries that were made before the step was postponed.
        spent: What those cost.

    Returns:
        The result, whether completed, failed or skipped; only being cancelled raises.
    """
    secrets: set[str] = set()
    meter = Meter()
    if spent is not None:
        meter.add(spent)
    with knowing(secrets):
        return await _run(step, scope.noting_secrets(secrets), runtime, secrets, when_cancelled, meter, tried)


async def _run(
    step: Step,
    scope: Scope,
    runtime: Runtime,
    secrets: set[str],
    when_cancelled: Callable[[StepResult], None] | None,
    meter: Meter,
    tried: int,
) -> StepResult:
    started = time.perf_counter()
    attempts = tried
    postponed: float | None = None
    outputs: Mapping[str, Any] = {}
    failure: Exception | None = None
    config: Mapping[str, Any] = {}
    kept: dict[Any, Any] = {}
    try:
        if not is_wanted(step, scope):
            result = StepResult(step.id, "skipped")
            runtime.observer.step_finished(step, result)
            return result
        runtime.observer.step_started(step)
        rendered = render_inputs(step, scope)
        # Secrets must not reach `tasks.<id>.config`, which other steps may show.
        masked = scope.masked()
        config = {name: render(value, masked) for name, value in step.inputs.items() if name in _CONFIG}
        executor = find_executor(step.executor)()
        inputs = validated_inputs(type(executor), rendered)
        if runtime.rehearsal is not None:
            stub = runtime.rehearsal.stubs.get(step.id)
            if stub is None and executor.reaches_out(inputs):
                runtime.observer.step_left_out(step)
                stub = {}
            if stub is not None:
                result = StepResult(
                    step.id, "completed", {name: stub.get(name) for name in step.outputs}, config=config
                )
                runtime.observer.step_finished(step, result)
                return result
        timeout = runtime.settings.task_timeout if step.timeout is None else step.timeout

        def before_sleep(attempt: int, error: BaseException, wait: float) -> None:
            runtime.observer.step_retrying(step, attempt, hide(f"{type(error).__name__}: {error}", secrets), wait)

        def postpone(wait: float) -> bool:
            nonlocal postponed
            if runtime.longest_wait is None or wait <= runtime.longest_wait:
                return False
            postponed = wait
            return True

        tries = retrying(
            step.retry or runtime.settings.retry,
            before_sleep,
            tried=tried,
            postpone=postpone,
            waits=not runtime.rehearsal,
        )
        async for attempt in tries:
            with attempt:
                attempts = tried + attempt.retry_state.attempt_number
                context = StepContext(step, scope, runtime, meter, attempts, secrets, kept)
                outputs = await _one_try(executor, inputs, context, timeout)
    except asyncio.CancelledError:
        # The run is over; what the step has spent until now is part of its account all the same.
        result = StepResult(
            step.id,
            "failed",
            error="CancelledError: the run ended before the step did",
            attempts=attempts,
            execution_time=(time.perf_counter() - started) * 1000,
            usage=meter.total(attempts),
            config=config,
        )
        runtime.observer.step_finished(step, result)
        if when_cancelled is not None:
            when_cancelled(result)
        raise
    except Exception as error:
        failure = error
        if isinstance(error, Postponed):
            # The try that would have begun has not.
            postponed, attempts = error.retry_after, max(tried, attempts - 1)
    result = StepResult(
        step.id,
        state="completed" if failure is None else "failed",
        # Whoever was given a secret may repeat it: a provider in its error, a model in its answer.
        outputs=outputs_of_failed(step)
        if failure
        else {n: hide(outputs.get(key), secrets) for n, key in step.outputs.items()},
        error=None if failure is None else hide(f"{type(failure).__name__}: {failure}", secrets),
        attempts=attempts,
        execution_time=(time.perf_counter() - started) * 1000,
        usage=meter.total(attempts),
        config=config,
        exception=failure,
        postponed=postponed,
    )
    if postponed is None:
        runtime.observer.step_finished(step, result)
    else:
        runtime.observer.step_retrying(step, attempts, str(result.error), postponed)
    return result


_CONFIG = frozenset({"provider", "model", "temperature", "max_tokens", "top_p", "stop", "seed"})


def outputs_of_failed(step: Step) -> dict[str, Any]:
    """Give the outputs of a step that has failed.

    Args:
        step: The step.
    """
    # Nobody sees null outputs but those that run although it failed.
    return (
        {name: step.default if name == step.primary_output else None for name in step.outputs} if step.continues else {}
    )


def validated_inputs(executor: type[Executor[Any]], rendered: Mapping[str, Any]) -> Any:
    """Check the inputs of a step, once resolved.

    Args:
        executor: The step's executor.
        rendered: Its inputs.

    Raises:
        InvalidRequest: They do not fit; the message tells of each.
    """
    try:
        return executor.Inputs.model_validate(rendered)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'inputs'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise InvalidRequest(f"the step's inputs do not fit once resolved: {problems}") from None


async def _one_try(
    executor: Executor[Any], inputs: Any, context: StepContext, timeout: float | None
) -> Mapping[str, Any]:
    started = time.monotonic()
    with cut_offs() as cut:
        try:
            return await asyncio.wait_for(executor.run(inputs, context), timeout)
        except asyncio.TimeoutError as error:
            # Since Python 3.11 this is also what a socket raises, long before our own limit.
            if timeout is None or time.monotonic() - started < timeout:
                raise TimeoutError(str(error) or "something that the step waited for took too long") from error
            for was_too_slow in cut:
                await was_too_slow()
            raise TimeoutError(f"one try took longer than {timeout:g} s") from None
