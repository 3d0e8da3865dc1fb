"""Where a task keeps what it has paid for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_llm_provider.config.resilience import Checkpoint
from airflow_llm_provider.config.settings import Settings
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.hooks.checkpoint import StorageCheckpoint, TaskCheckpoint, task_checkpoint


def context(try_number: int = 1, store: object = None) -> Any:
    ti = SimpleNamespace(dag_id="d", run_id="r/1:2", task_id="g.t", map_index=-1, try_number=try_number)
    return {"ti": ti, "task_state_store": store}


def checkpoint(tmp_path: Path, try_number: int = 1, interval: float = 0.0, **options: Any) -> StorageCheckpoint:
    settings = Settings(checkpoint=Checkpoint.model_construct(enabled=True, interval=interval, storage=str(tmp_path)))
    return cast("StorageCheckpoint", task_checkpoint(context(try_number), Runtime(settings=settings), **options))


async def test_a_later_try_finds_what_was_kept(tmp_path: Path) -> None:
    first = checkpoint(tmp_path)
    assert await first.get("a") is None
    await first.put("a", "ä", 0)
    await first.put("b", "2", 0)
    second = checkpoint(tmp_path, 2)
    await second.put("b", "3", 0)
    third = checkpoint(tmp_path, 3)
    assert [await third.get(key) for key in "abc"] == ["ä", "3", None]
    resumed = checkpoint(tmp_path, 1, is_resumed=True)
    assert await resumed.get("a") == "ä"
    assert len([*tmp_path.rglob("*.json")]) == 3


@pytest.mark.shows("fault_tolerance.checkpoint.interval")
async def test_what_comes_soon_after_is_written_together(tmp_path: Path) -> None:
    first = checkpoint(tmp_path, interval=0.2)
    for number in range(50):
        await first.put(str(number), "x", 0)
    assert len([*tmp_path.rglob("*.json")]) == 1
    while len([*tmp_path.rglob("*.json")]) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    assert len([*tmp_path.rglob("*.json")]) == 2
    await first.put("last", "x", 0)
    await first.put("very last", "x", 0)
    await first.aclose()
    second = checkpoint(tmp_path, 2)
    assert [await second.get(key) for key in ("0", "49", "last", "very last")] == ["x"] * 4


@pytest.mark.shows("fault_tolerance.checkpoint.enabled")
def test_where_it_is_kept() -> None:
    def kept(**options: Any) -> object:
        return task_checkpoint(context(store=object()), Runtime(settings=Settings(checkpoint=Checkpoint(**options))))

    assert isinstance(kept(), TaskCheckpoint)
    assert kept(enabled=False) is None
    assert isinstance(kept(storage="s3://checkpoints/"), StorageCheckpoint)
    with pytest.raises(ConfigurationError, match=r"'fault_tolerance\.checkpoint\.storage': 'here://' names no bucket"):
        kept(storage="here://")
