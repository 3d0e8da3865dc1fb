"""Recommendations from histories."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow_llm_provider import optimization
from airflow_llm_provider.json_lines import append_lines
from airflow_llm_provider.optimization import MetricRecord, read_records, recommend, record_file

START = datetime(2026, 1, 31, tzinfo=timezone.utc)


def test_what_the_package_exports() -> None:
    assert optimization.__all__ == ["MetricRecord", "Recommendations", "read_records", "recommend", "record_file"]


def record(number: int, task: str = "a", **facts: Any) -> MetricRecord:
    return MetricRecord(
        workflow_id="w",
        run_id=f"r{number}",
        task_id=task,
        timestamp=START + timedelta(minutes=number),
        **facts,
    )


def found(records: list[MetricRecord]) -> dict[str, Any]:
    return recommend("w", records, START).to_dict()


def test_no_history_gives_nothing() -> None:
    assert found([]) == {
        "workflow_id": "w",
        "generated_at": "2026-01-31T00:00:00+00:00",
        "items": [],
        "estimated_improvement": {"cost": 0.0, "execution_time": 0.0},
    }


def test_repeated_prompts() -> None:
    history = [record(n, prompt_sha256="same" if n % 2 else str(n), cost_usd=0.1, model="m") for n in range(10)]
    assert found(history)["items"] == [
        {
            "id": "caching-a",
            "type": "Caching",
            "confidence": 0.67,
            "expected_impact": {"cost": 0.4, "execution_time": 0.0},
            "task_id": "a",
            "ttl": 240,
            "reason": "4 of 10 recorded prompts had been asked before",
        }
    ]
    assert found(history)["estimated_improvement"] == {"cost": 0.4, "execution_time": 0.0}
    assert found(history[:4])["items"] == []


def test_a_cheaper_model_as_good() -> None:
    cheap = [record(n, model="small", quality_score=0.9, cost_usd=0.01) for n in range(5)]
    dear = [record(n, model="large", quality_score=0.9, cost_usd=0.1) for n in range(5, 10)]
    [item] = found([*cheap, *dear])["items"]
    assert (item["type"], item["from"], item["to"]) == ("ModelSwitch", "large", "small")
    assert item["reason"] == ("small gave a quality of 0.90 for 0.010000 USD a call, large 0.90 for 0.100000 USD")
    worse = [one.model_copy(update={"quality_score": 0.8}) for one in cheap]
    assert found([*worse, *dear])["items"] == []
    assert found([*cheap[:4], *dear])["items"] == []


def test_slow_steps_in_a_row() -> None:
    def history(uses: tuple[str, ...]) -> list[MetricRecord]:
        slow: dict[str, Any] = {"execution_time_ms": 2000, "model": "m"}
        return [
            one
            for n in range(5)
            for one in (
                record(n, "a", waits_for=(), uses=(), **slow),
                record(n, "b", waits_for=("a",), uses=uses, **slow),
            )
        ]

    [item] = found(history(()))["items"]
    assert (item["type"], item["tasks"], item["expected_speedup"]) == ("Parallelization", ["a", "b"], 2.0)
    assert item["expected_impact"] == {"cost": 0.0, "execution_time": 0.5}
    assert found(history(("a",)))["items"] == []


def test_a_damaged_history_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = record_file(tmp_path, "my flow/1")
    assert path == tmp_path / "my-flow-1.jsonl"
    assert read_records(tmp_path, "my flow/1", last=10) == []
    kept = [record(n).model_copy(update={"workflow_id": "my flow/1"}) for n in range(3)]
    append_lines(path, [one.model_dump(mode="json") for one in kept])
    append_lines(path, [{"workflow_id": "my flow/1"}, record(9).model_dump(mode="json")])
    with path.open("a") as file:
        file.write('{"workflow_id": "my fl')
    assert read_records(tmp_path, "my flow/1", last=10) == kept
    assert read_records(tmp_path, "my flow/1", last=4) == kept[2:]
