"""orchestrator.yaml is read with every error at once, and for each value it is known where it came from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from airflow_llm_provider.config import reading as module
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.describe import configuration_schema, describe, key_table
from airflow_llm_provider.config.reading import VARIABLES, Reading, read_configuration, secrets_of

GUIDE = Path(__file__).parent / "files" / "guide.yaml"
"""The deployment guide's own example, word for word."""

GUIDES_VARIABLES = {
    "DATABASE_URL": "postgresql://user:pass@localhost:5432/orchestrator",
    "REDIS_URL": "redis://localhost:6379",
    "ANTHROPIC_API_KEY": "sk-ant-...",
    "OPENAI_API_KEY": "sk-...",
    "JWT_SECRET": "your-secret-key",
    "JAEGER_ENDPOINT": "http://jaeger:14268/api/traces",
    "PROMETHEUS_ENDPOINT": "http://prometheus:9090",
    "ORCHESTRATOR_MODE": "api",
    "RUST_LOG": "info",
    "RUST_BACKTRACE": "1",
}


def read(tmp_path: Path, text: str, *, for_server: bool = False, **environment: str) -> Reading:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(text, encoding="utf-8")
    return read_configuration(path, environment, for_server=for_server)


def told(reading: Reading) -> list[str]:
    """Give what is wrong, without the folder."""
    return [str(problem).replace(f"{reading.path}:", "") for problem in reading.problems]


def test_the_guides_example_is_right_and_says_what_it_says() -> None:
    reading = read_configuration(GUIDE, GUIDES_VARIABLES, for_server=True)
    assert [problem for problem in reading.problems if problem.severity == "error"] == []
    found = reading.valid().model_dump(mode="json", by_alias=True)

    def check(said: Any, held: Any, where: str) -> None:
        for key, value in said.items():
            if isinstance(value, dict):
                check(value, held[key], f"{where}{key}.")
            elif not str(value).startswith("${") and held[key] != "**********":
                assert {str(held[key]), _as_written(held[key])} & {str(value), _as_written(value)}, f"{where}{key}"

    check(yaml.safe_load(GUIDE.read_text()), found, "")


def _as_written(value: Any) -> str:
    return {"3600s": "1h", "60s": "1m"}.get(value, str(value).removesuffix(".0"))


def test_the_guides_variables_win() -> None:
    reading = read_configuration(
        GUIDE, {**GUIDES_VARIABLES, "DATABASE_URL": "postgresql://other/name", "RUST_LOG": "debug"}
    )
    found = reading.valid()
    assert found.database.url is not None
    assert found.database.url.get_secret_value() == "postgresql://other/name"
    assert found.observability.logging.level == "debug"
    assert found.observability.metrics.prometheus == "http://prometheus:9090"
    assert reading.source(("database", "url")) == "variable DATABASE_URL"
    assert reading.source(("database", "pool", "max_connections")) == f"{GUIDE}:20"
    assert reading.source(("database", "pool", "kept")) == f"{GUIDE}:19"
    assert reading.source(("home",)) == "default"


def test_every_variable_stands_for_a_key() -> None:
    names = {name.replace(".NAME", "") for name in describe()} | {"integrations.llm_forge.api_keys"}
    for variable, key in VARIABLES.items():
        assert key in names or key.rpartition(".")[0] in names, variable


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    text = """server:
  prot: {http: 8080}
  host: [1]
database:
  pool: {max_connection: 5, connection_timeout: soon}
execution:
  resources: {memory_limit: 16Gb, cpu_limit: -1}
  executor: {type: lokal, worker_threads: many}
security: {fernet_key: short}
observability: {logging: {level: loud}, tracing: {sample_rate: 2}}
exekution: {}
"""
    reading = read(tmp_path, text)
    assert reading.configuration is None
    assert sorted(told(reading)) == [
        "10:34: 'level' is 'loud'; expected one of trace, debug, info, warn, error",
        "10:64: 'sample_rate' is 2; at most 1 is allowed",
        "11:1: unknown key 'exekution'; did you mean 'execution'?",
        "2:3: unknown key 'prot'; did you mean 'port'?",
        "3:9: 'host' must be a text, not a list",
        "5:10: unknown key 'max_connection'; did you mean 'max_connections'?",
        "5:49: 'connection_timeout': 'soon' is no duration; write a number of seconds or a text such as 500ms, 30s, 5m, 2h or 1d",
        "7:29: 'memory_limit': '16Gb' is no size; write a number of bytes or a text such as 512Mi, 16Gi or 1G",
        "7:46: 'cpu_limit' is -1; it must be above 0",
        "8:20: 'type' is 'lokal'; expected one of auto, local, celery, kubernetes, celery-kubernetes; did you mean 'local'?",
        "8:43: 'worker_threads' must be a whole number, not 'many'",
        "9:11: 'security': 'fernet_key' is not 32 bytes in URL-safe base64; make one with: openssl rand -base64 32 | tr '+/' '-_'",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "orchestrator:\n  fault-tolerance:\n    circuit-breaker: {failure-threshold: 9}\n",
        "fault_tolerance:\n  circuit_breaker: {failure_threshold: 9}\n",
        "fault-tolerance: {circuit_breaker: {failure-threshold: '${N:-9}'}}",
    ],
)
def test_the_ways_to_write_it(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).valid().fault_tolerance.circuit_breaker.failure_threshold == 9


def test_an_error_stands_where_the_file_has_it(tmp_path: Path) -> None:
    reading = read(tmp_path, "orchestrator:\n  fault-tolerance:\n    circuit-breaker: {failure-threshold: 0}\n")
    assert told(reading) == ["3:42: 'failure_threshold' is 0; at least 1 is needed"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "of a"),
        ("$(A)", "of a"),
        ("x-${A}-$(A)", "x-of a-of a"),
        ("${B:-else}", "else"),
        ("${EMPTY:-else}", "else"),
        ("${A:-else}", "of a"),
        ("${B:-}", None),
        ("$${A}", "${A}"),
        ("$A", "$A"),
    ],
)
def test_variables(tmp_path: Path, written: str, value: str | None) -> None:
    reading = read(tmp_path, f"server: {{base_url: '{written}'}}", A="of a", EMPTY="")
    assert reading.valid().server.base_url == value
    assert reading.problems == ()


def test_an_unset_variable_is_empty_and_told(tmp_path: Path) -> None:
    reading = read(tmp_path, "slack: {webhook_url: '${HOOK}'}")
    assert reading.valid().slack.webhook_url is None
    assert told(reading) == [
        "1:22: warning: the variable HOOK is not set, and counts as empty; set it, or write ${HOOK:-default}"
    ]


def test_a_password_is_written_so_that_it_can_stand_in_an_address(tmp_path: Path) -> None:
    text = "database: {url: 'postgresql://$(DB_USER):${DB_PASSWORD}@host/${NAME}'}"
    found = read(tmp_path, text, DB_USER="us/er", DB_PASSWORD="a/b@c+d=", NAME="n").valid().database.url
    assert found is not None
    assert found.get_secret_value() == "postgresql://us%2Fer:a%2Fb%40c%2Bd%3D@host/n"
    found = read(tmp_path, text, DB_USER="u", DB_PASSWORD="a%2Fb", NAME="n").valid().database.url
    assert found is not None
    assert found.get_secret_value() == "postgresql://u:a%2Fb@host/n"


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-from-a-file\n")
    text = f"""
integrations: {{llm_forge: {{token_file: {tmp_path}/key, api-keys: {{openai_file: '${{DIR}}/key'}}}}}}
security: {{authentication: {{jwt-secret-file: {tmp_path}/none}}}}
"""
    reading = read(tmp_path, text, DIR=str(tmp_path))
    assert told(reading) == [f"3:46: the secret's file {tmp_path}/none cannot be read: No such file or directory"]
    reading = read(tmp_path, text.splitlines()[1], DIR=str(tmp_path))
    assert sorted(secrets_of(reading.valid())) == ["sk-from-a-file", "sk-from-a-file"]


def test_a_variable_stands_for_any_key(tmp_path: Path) -> None:
    reading = read(tmp_path, "server: {port: {http: 1}}", ORCHESTRATOR__SERVER__PORT__HTTP="2", ORCHESTRATOR__HOME="/h")
    assert (reading.valid().server.port.http, reading.valid().home) == (2, Path("/h"))
    reading = read(tmp_path, "", ORCHESTRATOR__SERVER__PORT__HTTP="x", ORCHESTRATOR__SERVER__PROT="1")
    assert told(reading) == [
        "$ORCHESTRATOR__SERVER__PROT:1:1: there is no key server.prot",
        "$ORCHESTRATOR__SERVER__PORT__HTTP:1:1: 'http' must be a whole number, not 'x'",
    ]


def test_a_redis_of_the_environment_is_used(tmp_path: Path) -> None:
    assert read(tmp_path, "", REDIS_URL="redis://h").valid().cache.type == "redis"
    assert read(tmp_path, "cache: {type: memory}", REDIS_URL="redis://h").valid().cache.type == "memory"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "cache:\n", "orchestrator: {}\n"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).valid() == Configuration()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n---\nb: 2\n", "1:1: the file holds more than one document; one is read; split it"),
        ("server: {host: a, host: b}", "1:19: key 'host' is given twice; first in line 1"),
        ("server: {base_url: a, base-url: b}", "1:23: 'base-url' says again what another key says; take one away"),
        ("orchestrator: 5", "1:15: the file must be a mapping"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    assert message in told(read(tmp_path, text))


SIGNED = f"security: {{authentication: {{jwt_secret: {'x' * 64}}}}}"
SITE = f"server: {{mode: edge-worker}}\n{SIGNED}\nedge:\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "server: {mode: worker}",
            [
                "needs a queue",
                "several machines cannot share SQLite",
                "needs 'jwt_secret'",
                "its tasks report to this machine",
            ],
        ),
        ("server: {mode: api}", ["needs a queue", "several machines cannot share SQLite", "needs 'jwt_secret'"]),
        ("server: {mode: edge-worker}", ["needs 'edge.api_url'", "needs 'jwt_secret'"]),
        (f"{SITE}  api_url: 'centre:8080'", ["'centre:8080' is no address of a centre; write where the centre is"]),
        (f"{SITE}  api_url: https://c/execution/", ["'https://c/execution/' is where tasks report"]),
        (f"{SITE}  api_url: https://c\n  name: {'n' * 65}", ["has 64 characters at most, not 65"]),
        (f"{SITE}  api_url: https://c\n  queues: []", ["an edge site needs a queue"]),
        (f"{SITE}  api_url: https://c\n  queues: ['a,b']", ["'a,b' is no name of a queue"]),
        (f"{SITE}  api_url: https://c\n  queues: [{', '.join('q' * 9 + str(n) for n in range(20))}]", ["too long"]),
        (
            f"edge: {{enabled: true, queues: [edge, default]}}\n{SIGNED}",
            ["all tasks of the queue 'default' would go to the edge, and it is the centre's own"],
        ),
        ("execution: {executor: {type: celery}}", ["needs a queue", "several machines cannot share SQLite"]),
        (
            "execution: {executor: {type: celery}, queue: {url: 'nats://h'}}\ndatabase: {url: 'postgresql://h/d'}",
            ["of no known kind"],
        ),
        ("database: {type: postgresql}", ["type 'postgresql' needs 'url'"]),
        (
            "database: {type: sqlite, url: 'postgresql://h/d'}",
            ["type is 'sqlite', but 'url' begins with postgresql://"],
        ),
        ("database: {url: 'mysql://h/d'}", ["'url' is of no known kind"]),
        ("database: {url: 'postgresql://u:a/b@h'}", ["'url' is no address of a database"]),
        ("database: {pool: {max_connections: 1, min_connections: 2}}", ["'min_connections' is 2, more than"]),
        ("server: {tls: {enabled: true}}", ["'enabled: true' needs 'cert_file' and 'key_file'"]),
        ("cache: {type: redis}", ["type 'redis' needs 'url'"]),
    ],
)
def test_what_contradicts_itself(tmp_path: Path, text: str, messages: list[str]) -> None:
    reading = read(tmp_path, text, for_server=True)
    errors = [str(problem) for problem in reading.problems if problem.severity == "error"]
    assert len(errors) == len(messages), errors
    assert all(any(message in error for error in errors) for message in messages), errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("security: {authentication: {jwt_secret: short}}", "'jwt_secret' has less than 64 characters"),
        (
            "server: {host: 0.0.0.0}\nsecurity: {authentication: {enabled: false}}",
            "whoever reaches 0.0.0.0 may do everything",
        ),
        ("server: {tls: {enabled: true, cert_file: /no, key_file: /no}}", "/no cannot be read on this machine"),
        ("security: {authentication: {provider: oauth2}}", "the provider 'oauth2' is not there in this version"),
        (
            "observability: {tracing: {enabled: true, exporter: jaeger, endpoint: 'http://j:14268/api'}}",
            "Jaeger's old collector",
        ),
    ],
)
def test_what_somebody_should_know(tmp_path: Path, text: str, message: str) -> None:
    reading = read(tmp_path, text, for_server=True)
    assert reading.configuration is not None
    assert any(message in str(problem) and problem.severity == "warning" for problem in reading.problems)


@pytest.mark.parametrize(
    "text",
    [
        "database: {url: 'mysql://user:hunter-2-hunter@h/d', type: postgresql}",
        "security: {authentication: {jwt_secret: hunter-2-hunter, jwt_expiry: hunter-2-hunter}}",
        "security: {fernet_key: hunter-2-hunter}",
        "security: {fernet_key: ${SECRET}}",
        "integrations: {llm_forge: {api_keys: {openai: {key: hunter-2-hunter}}}}",
        "execution: {queue: {url: 'nats://:hunter-2-hunter@h'}, executor: {type: celery}}",
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    reading = read(tmp_path, text, for_server=True, SECRET="hunter-2-hunter")
    assert reading.problems
    assert "hunter-2-hunter" not in "".join(problem.excerpt() for problem in reading.problems)


def test_every_key_is_described() -> None:
    keys = describe()
    assert {key.name for key in keys.values() if not key.meaning} == set()
    assert keys["execution.executor.worker_threads"].settings == (
        "AIRFLOW__CELERY__WORKER_CONCURRENCY",
        "AIRFLOW__CORE__PARALLELISM",
    )
    assert {key.name for key in keys.values() if not key.settings and not key.reader} == set()
    assert keys["fault_tolerance.circuit_breaker.timeout"].default == "1m"
    assert keys["execution.resources.memory_limit"].kind == "size"
    assert keys["actions.NAME.type"].kind == "webhook \\| slack \\| email \\| queue"


def test_the_table_in_the_docs_is_what_the_code_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert key_table() in page, "run: llm-orchestrator config keys, and put it into docs/configuration.md"


@pytest.mark.parametrize("page", ["configuration.md", "deployment.md"])
def test_the_examples_of_the_docs_are_right(tmp_path: Path, page: str) -> None:
    text = (Path(__file__).parents[3] / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        here = re.sub(r"/run/secrets/\w+", str(tmp_path / "secret"), block)
        (tmp_path / "secret").write_text("A" * 43 + "=")
        reading = read(tmp_path, here, for_server=True, DB_PASSWORD="x")
        assert [str(problem) for problem in reading.problems if problem.severity == "error"] == []


def test_the_schema_takes_what_the_reader_takes() -> None:
    schema = configuration_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(yaml.safe_load(GUIDE.read_text()))] == []
    right = {"server": {"port": {"http": "${PORT:-8080}"}}, "integrations": {"llm_forge": {"token_file": "/f"}}}
    assert [*validator.iter_errors(right)] == []
    wrong = {"server": {"port": {"http": "x"}}, "database": {"pool": {"connection_timeout": "soon"}}, "nonsense": 1}
    assert len([*validator.iter_errors(wrong)]) == 3
    json.dumps(schema)


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
