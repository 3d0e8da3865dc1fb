"""What ``orchestrator.yaml`` says of how much runs at once, and where: the section ``execution``."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from airflow_llm_provider.config.section import Cpus, Duration, QueueNames, Section, Size

__all__ = ["Execution", "ExecutorSettings", "Queue", "Resources", "SchedulerSettings"]

_LEAST_MEMORY = 64 * 1024**2

ExecutorType = Literal["auto", "local", "celery", "kubernetes", "celery-kubernetes"]


class SchedulerSettings(Section):
    """What the scheduler allows: section ``execution.scheduler``.

    Attributes:
        max_parallel_workflows: Most runs of one workflow at once, and as many new ones in one round of the scheduler; a workflow
            may say less by itself.
        task_queue_size: Most tasks that are queued or running at once.
        scheduling_interval: Seconds that the scheduler rests when there was nothing to do: what each step of a chain waits for at
            most.
    """

    max_parallel_workflows: int = Field(default=100, ge=1)
    task_queue_size: int = Field(default=1000, ge=1)
    scheduling_interval: Duration = 0.2


class ExecutorSettings(Section):
    """What runs the tasks: section ``execution.executor``.

    Attributes:
        type: Processes of the scheduler's machine (``local``), workers that take them from a queue (``celery``), a pod for each
            (``kubernetes``), or of the last two what a step chooses. ``auto`` is ``local`` in the mode standalone, else ``celery``.
        worker_threads: Tasks at once of one worker, or of the one machine; by default four for each processor, for LLM steps wait
            more than they compute.
        max_blocking_threads: Most threads of one task for what cannot wait by itself, such as files and boto3; by default Python's
            own choice.
        task_timeout: Seconds that one try of a step may take that says nothing itself; by default there is no limit.
    """

    type: ExecutorType = "auto"
    worker_threads: int = Field(default_factory=lambda: max(4, min(32, 4 * (os.cpu_count() or 1))), ge=1)
    max_blocking_threads: int | None = Field(default=None, ge=1)
    task_timeout: Duration | None = None


def _enough(memory: int) -> int:
    if memory < _LEAST_MEMORY:
        raise ValueError(f"no server runs on {memory} bytes; write at least 64Mi")
    return memory


class Resources(Section):
    """What one process of a worker may use: section ``execution.resources``.

    Attributes:
        cpu_limit: Processors. Processes of this machine are kept to as many, rounded up; containers and units to exactly so much.
        memory_limit: Memory. A process of this machine gets no more than that, and its task fails; so does a container, a unit or a
            pod as a whole.
        gpu_limit: GPUs: tasks see the first so many; absent, all.
    """

    cpu_limit: Cpus | None = None
    memory_limit: Annotated[Size, AfterValidator(_enough)] | None = None
    gpu_limit: int | None = Field(default=None, ge=0)


class Queue(Section):
    """How tasks reach workers: section ``execution.queue``.

    Attributes:
        url: The broker, such as ``redis://host:6379/0`` or ``amqp://user:password@host:5672/``; a secret. By default the Redis of
            ``cache``.
        result_backend: Where workers tell how a task has ended; a secret. By default the broker if it is a Redis, else the metadata
            database.
        names: The queues whose tasks a worker takes.
    """

    url: SecretStr | None = None
    result_backend: SecretStr | None = None
    names: QueueNames = ("default",)


class Execution(Section):
    """Section ``execution``.

    Attributes:
        scheduler: What may run at once.
        executor: What runs it.
        resources: What it may use.
        queue: How it gets there.
    """

    scheduler: SchedulerSettings = SchedulerSettings()
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)
    resources: Resources = Resources()
    queue: Queue = Queue()
