"""The JSON Schema of orchestrator.yaml takes what the reader takes, and refuses what the reader refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from airflow_llm_provider.config import schema as module
from airflow_llm_provider.config.reading import read_configuration
from airflow_llm_provider.config.schema import configuration_schema

GUIDE = Path(__file__).parent / "files" / "guide.yaml"
SCHEMA = configuration_schema()


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        (GUIDE.read_text(), True),
        ("{}", True),
        ("cache:", True),
        ("orchestrator:", True),
        ("orchestrator: {}", True),
        ("orchestrator: {cache: }", True),
        ("orchestrator: {fault-tolerance: {circuit-breaker: {failure-threshold: 9}}}", True),
        ("orchestrator: {server: {host: a}}\ncache: {type: memory}", False),
        ("orchestrator: {servr: {host: a}}", False),
        ("fault-tolerance: {circuit_breaker: {failure-threshold: many}}", False),
        ("fault-tolerance: {circuit_breakr: {}}", False),
        ("server: {port: {http: '${PORT:-8080}'}}", True),
        ("server: {port: {http: '$(PORT)'}}", True),
        ("server: {port: {http: '${PORT'}}", False),
        ("server: {port: {http: x}}", False),
        ("server: {port: {http: 70000}}", False),
        ("server: {mode: '${MODE}'}", True),
        ("server: {mode: nonsense}", False),
        ("database: {type: '${TYPE}', pool: {connection_timeout: '${TIME}'}}", True),
        ("database: {pool: {connection_timeout: soon}}", False),
        ("execution: {resources: {cpu_limit: '${CPU}', memory_limit: '${MEMORY}', gpu_limit: '${GPU}'}}", True),
        ("execution: {resources: {cpu_limit: 500m, memory_limit: 512Mi}}", True),
        ("execution: {resources: {memory_limit: 16 potatoes}}", False),
        ("execution: {resources: {memory_limit: ''}, executor: {task_timeout: ''}}", True),
        ("observability: {logging: {level: INFO}}", True),
        ("observability: {logging: {level: 'orchestrator=debug,warn'}}", True),
        ("observability: {logging: {level: loud}}", False),
        ("observability: {tracing: {sample_rate: '${RATE}'}}", True),
        ("kubernetes: {egress_ports: ['${PORT}', 80]}", True),
        ("kubernetes: {egress_ports: [x]}", False),
        ("actions: {a: {type: webhook, url: x}}", True),
        ("actions: {a: {type: webhook, url_file: FILE, headers: {authorization_file: FILE}}}", True),
        ("actions: {a: {type: webhook}}", False),
        ("actions: {a: {type: queue, redis-url: ~}}", True),
        ("actions: {a: {type: nonsense}}", False),
        ("integrations: {llm_forge: {token_file: FILE, api-keys: {openai_file: FILE, anthropic: }}}", True),
        ("alerts: {to: 'a@b.c, d@e.f'}", True),
        ("budgets: [{limit_usd: '${LIMIT}', each: team}]", True),
        ("budgets: [{limit_usd: 5, each: [team, workflow]}]", True),
        ("budgets: [{limit_usd: 5, each: nobody}]", False),
        ("budgets: [{limit: 5}]", False),
        ("airflow: {core: {parallelism: 5, executor: x}}", True),
        ("storage: {options: {gs: {token: x, anything: {at: all}}}}", True),
    ],
)
def test_schema_and_reader_agree(tmp_path: Path, text: str, is_right: bool) -> None:
    (tmp_path / "secret").write_text("geheim")
    path = tmp_path / "orchestrator.yaml"
    path.write_text(text.replace("FILE", str(tmp_path / "secret")))
    variables = {
        "PORT": "80", "MODE": "api", "TYPE": "sqlite", "TIME": "1m", "CPU": "2", "MEMORY": "1Gi", "GPU": "1", "RATE": "0.5",
        "LIMIT": "5", "ANTHROPIC_API_KEY": "x", "OPENAI_API_KEY": "x", "JWT_SECRET": "x",
    }  # fmt: skip
    told = [str(each) for each in read_configuration(path, variables).problems if each.severity == "error"]
    refused = [each.message for each in Draft202012Validator(SCHEMA).iter_errors(yaml.safe_load(path.read_text()))]
    assert (told == [], refused == []) == (is_right, is_right), (told, refused)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    wrong = {"server": {"port": {"http": "x"}}, "database": {"pool": {"connection_timeout": "soon"}}, "nonsense": 1}
    assert len([*Draft202012Validator(SCHEMA).iter_errors(wrong)]) == 3


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
