"""The event that starts a run, read from what a queue or Airflow's API delivers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["event_run_id", "events_in"]

_NOT_IN_RUN_IDS = re.compile(r"[^A-Za-z0-9_.~:+-]")
_LONGEST = 200


def event_run_id(event: Mapping[str, Any]) -> str:
    """Give the id of the run that an event starts; the same for the same event, so that it starts one run however often it comes.

    Args:
        event: The event; it has an ``id``.
    """
    given = str(event["id"])
    fit = _NOT_IN_RUN_IDS.sub("-", given)[:_LONGEST]
    # Two ids must not become one by what Airflow does not take in them.
    return f"event__{fit}" if fit == given else f"event__{fit}-{_digest(given)}"


def events_in(delivered: Sequence[tuple[str, Mapping[str, Any]]], source: str) -> list[dict[str, Any]]:
    """Read the events out of what was delivered.

    A message that is JSON text is read; an object with ``type`` or ``data`` is an event, and everything else is
    an event's ``data``.

    Args:
        delivered: Time (ISO 8601) and ``extra`` of each of Airflow's asset events.
        source: Where they come from, for those that do not say.

    Returns:
        The events, oldest first, each with ``id``, ``source``, ``type``, ``time`` and ``data``.
    """
    events: list[dict[str, Any]] = []
    for time, extra in sorted(delivered, key=lambda item: item[0]):
        for place, message in enumerate(_messages(extra)):
            given = _read(message)
            known = dict(given) if isinstance(given, dict) and given.keys() & {"type", "data"} else {"data": given}
            made_up = _digest(json.dumps([time, place, given], sort_keys=True, default=str))
            event = {"id": made_up, "source": source, "type": None, "time": time, "data": {}, **known}
            events.append(event)
    return events


def _messages(extra: Mapping[str, Any]) -> Iterator[Any]:
    if not extra.get("from_trigger"):
        yield {key: value for key, value in extra.items() if key != "from_rest_api"}
        return
    payload = extra.get("payload")
    if isinstance(payload, dict) and isinstance(payload.get("message_batch"), list):
        # SQS gives several messages at once.
        for message in payload["message_batch"]:
            yield message.get("Body", message) if isinstance(message, dict) else message
    elif isinstance(payload, dict) and {"channel", "data"} <= payload.keys():
        # Redis wraps the message into where it came from.
        yield payload["data"]
    else:
        yield payload


def _read(message: Any) -> Any:
    if isinstance(message, str):
        try:
            return json.loads(message)
        except ValueError:
            return message
    return message


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
