"""Connections to vector stores."""

from __future__ import annotations

import json

import pytest

from airflow_llm_provider.hooks.stores import PineconeHook, QdrantHook, VectorStoreHook, WeaviateHook
from airflow_llm_provider.simulator import SimulatorServer


@pytest.mark.parametrize("hook", [QdrantHook, PineconeHook, WeaviateHook])
def test_the_test_button(monkeypatch: pytest.MonkeyPatch, hook: type[VectorStoreHook]) -> None:
    with SimulatorServer() as simulator:
        for key, passed in (("a-long-key", True), ("invalid", False)):
            fields = {"conn_type": hook.conn_type, "host": simulator.base_url, "password": key}
            monkeypatch.setenv(f"AIRFLOW_CONN_{hook.default_conn_name.upper()}", json.dumps(fields))
            told = hook().test_connection()
            assert told[0] is passed, told
    assert told[1].startswith("AuthenticationError: ")
    assert hook().test_connection()[1].startswith("ConnectionError: ")
