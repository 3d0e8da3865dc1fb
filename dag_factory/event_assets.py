"""The asset that stands for where a workflow's events come from, with a watcher when that is a message queue."""

from __future__ import annotations

import importlib
import re
from urllib.parse import parse_qsl, quote, urlsplit

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.triggers.redis_channel import RedisChannelTrigger
from airflow_llm_provider.workflow.model import Trigger

__all__ = ["event_asset"]

_SQS = re.compile(r"https://sqs\.[^./]+\.amazonaws\.com(\.cn)?/[0-9]+/.+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
_EXTRAS = {"redis+pubsub": "messaging-redis", "kafka": "messaging-kafka", "sqs": "messaging-sqs"}
"""Scheme of a queue to the extra that brings its provider."""

_PROVIDERS = {
    "redis+pubsub": "airflow.providers.redis",
    "kafka": "airflow.providers.apache.kafka",
    "sqs": "airflow.providers.amazon.aws",
}


def event_asset(trigger: Trigger) -> Asset:
    """Make the asset whose events start a workflow.

    Args:
        trigger: The workflow's trigger. A source that is the URL of a queue is watched; any other is an asset that others post to.

    Raises:
        ConfigurationError: What the queue needs is not installed, or its URL lacks something.
    """
    source = trigger.source
    if _SQS.fullmatch(source):
        return _watched(source, _queue("sqs", source, {"sqs_queue": source}))
    if not _URL.fullmatch(source) or urlsplit(source).scheme in ("http", "https"):
        return Asset(_uri(source))
    url = urlsplit(source)
    if url.username or url.password:
        raise ConfigurationError(
            "an eventSource holds no user or password; name an Airflow connection in place of the host"
        )
    options: dict[str, object] = {key: _number(value) for key, value in parse_qsl(url.query)}
    path = url.path.strip("/")
    if url.scheme == "redis+pubsub":
        if not path or not url.netloc:
            raise ConfigurationError(f"{source!r} lacks a channel; write redis+pubsub://HOST:PORT/CHANNEL")
        if url.netloc.rpartition(":")[2].isdecimal():
            return _watched(source, RedisChannelTrigger(f"redis://{url.netloc}/{options.get('db', 0)}", path))
        # Airflow's trigger looks once a minute if it is not told otherwise.
        options = {"poll_interval": 1, **options, "channels": path.split(","), "redis_conn_id": url.netloc}
    elif url.scheme == "kafka":
        if not path:
            raise ConfigurationError(f"{source!r} lacks a topic; write kafka://CONNECTION/TOPIC")
        options = {**options, "topics": path.split(","), "kafka_config_id": url.netloc or "kafka_default"}
    elif url.scheme == "sqs":
        options = {**options, "sqs_queue": path, "aws_conn_id": url.netloc or "aws_default"}
    return _watched(source, _queue(url.scheme, source, options))


def _watched(source: str, trigger: BaseEventTrigger) -> Asset:
    return Asset(_uri(source), watchers=[AssetWatcher(_uri(source), trigger)])


def _uri(source: str) -> str:
    return f"llm-event://{quote(source, safe='')}"


def _queue(scheme: str, source: str, options: dict[str, object]) -> BaseEventTrigger:
    extra = _EXTRAS.get(scheme, "messaging")
    try:
        if scheme in _PROVIDERS:
            importlib.import_module(_PROVIDERS[scheme])
        queues = importlib.import_module("airflow.providers.common.messaging.triggers.msg_queue")
    except ImportError:
        raise ConfigurationError(
            f"what reads the queue {source!r} is not installed; install airflow-llm-provider[{extra}]"
        ) from None
    trigger: BaseEventTrigger = queues.MessageQueueTrigger(scheme=scheme, **options)
    try:
        # Made now, so that what is wrong with it is told here and not in the triggerer's log.
        trigger.serialize()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"no queue can be read at {source!r}: {error}") from error
    return trigger


def _number(text: str) -> object:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text
