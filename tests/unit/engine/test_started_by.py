"""Events out of what queues and Airflow's API deliver."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_llm_provider.engine.started_by import event_run_id, events_in


@pytest.mark.parametrize(
    ("extra", "types_and_data"),
    [
        ({"type": "opened", "data": {"n": 1}, "from_rest_api": True}, [("opened", {"n": 1})]),
        ({"n": 1, "from_rest_api": True}, [(None, {"n": 1})]),
        ({"from_trigger": True, "payload": "plain text"}, [(None, "plain text")]),
        (
            {"from_trigger": True, "payload": {"type": "message", "channel": "c", "data": '{"type": "t", "data": 2}'}},
            [("t", 2)],
        ),
        (
            {"from_trigger": True, "payload": {"status": "success", "message_batch": [{"Body": "[1]"}, {"Body": "2"}]}},
            [(None, [1]), (None, 2)],
        ),
    ],
)
def test_messages_are_events(extra: dict[str, Any], types_and_data: list[tuple[Any, Any]]) -> None:
    events = events_in([("2026-01-01T00:00:00+00:00", extra)], "here")
    assert [(event["type"], event["data"]) for event in events] == types_and_data
    assert {event["source"] for event in events} == {"here"}
    assert len({event["id"] for event in events}) == len(events)


def test_events_are_in_the_order_of_their_times_and_have_ids_that_stay() -> None:
    delivered = [("2026-01-02", {"data": 2}), ("2026-01-01", {"data": 1})]
    events = events_in(delivered, "here")
    assert [event["data"] for event in events] == [1, 2]
    assert events == events_in(delivered[::-1], "here")


def test_ids_of_runs_are_what_airflow_takes() -> None:
    assert event_run_id({"id": "t1"}) == "event__t1"
    assert event_run_id({"id": "a b"}) != event_run_id({"id": "a/b"})
    assert event_run_id({"id": "a b"}).startswith("event__a-b-")
