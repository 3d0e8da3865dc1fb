"""Where the events of a workflow come from, as Airflow's assets."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.triggers.redis_channel import RedisChannelTrigger
from airflow_llm_provider.workflow.model import Trigger
from dag_factory import WorkflowErrors, raise_errors
from dag_factory.event_assets import event_asset


@pytest.mark.parametrize("source", ["tickets", "https://desk.example.com/hooks"])
def test_what_is_no_queue_is_a_plain_asset(source: str) -> None:
    asset = event_asset(Trigger(source))
    assert asset.watchers == []
    assert asset.name.startswith("llm-event://")


def test_a_redis_channel_at_an_address_is_watched() -> None:
    asset = event_asset(Trigger("redis+pubsub://cache:6379/tickets?db=2"))
    [watcher] = asset.watchers
    assert isinstance(watcher.trigger, RedisChannelTrigger)
    assert watcher.trigger.serialize()[1] == {"url": "redis://cache:6379/2", "channel": "tickets"}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("kafka://kafka_default/tickets", r"install airflow-llm-provider\[messaging-kafka\]"),
        ("redis+pubsub://redis_default/tickets", r"install airflow-llm-provider\[messaging-redis\]"),
        (
            "https://sqs.eu-central-1.amazonaws.com/123456789012/tickets",
            r"install airflow-llm-provider\[messaging-sqs\]",
        ),
        ("pulsar://x/y", r"install airflow-llm-provider\[messaging\]"),
        ("redis+pubsub://cache:6379", "lacks a channel"),
        ("kafka://ann:secret@broker/tickets", "holds no user or password"),
    ],
)
def test_what_cannot_be_watched_says_why(source: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "airflow.providers.common.messaging.triggers.msg_queue", None)
    with pytest.raises(ConfigurationError, match=told):
        event_asset(Trigger(source))


def test_a_missing_queue_client_is_an_import_error_of_that_workflow(tmp_path: Path) -> None:
    text = """\
        apiVersion: orchestrator.llm/v1
        kind: EventWorkflow
        metadata: {name: x}
        spec:
          trigger: {eventSource: "pulsar://x/y"}
          tasks: [{id: a, executor: action, inputs: {action: x}}]
        """
    (tmp_path / "w.yaml").write_text(textwrap.dedent(text))
    with pytest.raises(WorkflowErrors, match=r"w.yaml:5:26: what reads the queue 'pulsar://x/y' is not installed"):
        raise_errors(tmp_path)
