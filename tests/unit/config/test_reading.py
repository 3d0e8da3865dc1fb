"""orchestrator.yaml is read with every error at once, and for each value it is known where it came from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_llm_provider.config import reading as module
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.describe import describe, key_table, sections
from airflow_llm_provider.config.reading import VARIABLES, Reading, read_configuration
from airflow_llm_provider.config.render import Source, render
from airflow_llm_provider.config.secrets import secrets_of

GUIDE = Path(__file__).parent / "files" / "guide.yaml"
"""The deployment guide's own example, word for word."""

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"

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
    assert reading.source(("execution", "executor", "type")) == "default"
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
    reading = read(tmp_path, f"smtp: {{host: '{written}', from: a@b.c}}", A="of a", EMPTY="")
    assert reading.valid().smtp.host == value
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


def test_what_is_wrong_with_a_secrets_file_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-from-a-file\n")
    (tmp_path / "empty").write_text("\n")
    for text, messages in {
        "cache: {type: redis, url_file: DIR/none}": [
            "1:32: the secret's file DIR/none cannot be read: No such file or directory"
        ],
        "cache: {type: redis, url_file: DIR/empty}": ["1:32: the secret's file DIR/empty is empty"],
        "actions: {a: {type: webhook, url_file: [x]}}": ["1:40: a secret's file is named by its path"],
        "smtp: {password_file: '${UNSET}'}": [
            "1:23: warning: the variable UNSET is not set, and counts as empty; set it, or write ${UNSET:-default}"
        ],
        "integrations: {llm_forge: {api_keys: {openai: a, openai_file: DIR/key}}}": [
            "1:50: 'openai_file' says again what another key says; take one away"
        ],
    }.items():
        found = told(read(tmp_path, text.replace("DIR", str(tmp_path)), for_server=True))
        assert [message.replace(str(tmp_path), "DIR") for message in found] == messages


BROKEN = "is no variable; write ${VAR}, ${VAR:-default}, or $$ for a dollar"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${A:?must}", f"1:31: what begins with ${{ here {BROKEN}"),
        ("${A-default}", f"1:31: what begins with ${{ here {BROKEN}"),
        ("x ${ A }", f"1:33: what begins with ${{ here {BROKEN}"),
        ("${A", f"1:31: what begins with ${{ here {BROKEN}"),
        ("${lower-case}", f"1:31: what begins with ${{ here {BROKEN}"),
        ("${A:-${B}}", f"1:31: what begins with ${{ here {BROKEN}"),
        ("$(A", f"1:31: what begins with $( here {BROKEN}"),
    ],
)
def test_what_only_looks_like_a_variable(tmp_path: Path, written: str, message: str) -> None:
    assert told(read(tmp_path, f"server: {{mode: api, workers: '{written}'}}", A="1")) == [message]


def test_the_keys_of_an_action_are_those_of_its_type(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("of $$ a ${FILE}\n")
    text = f"""
actions:
  hook: {{type: webhook, url_file: {tmp_path}/key, headers: {{authorization_file: {tmp_path}/key}}}}
  chat: {{type: slack, webhook-url: "https://host"}}
  line: {{type: queue, redis-url: ~}}
  far: {{type: queue, redis_url: "redis://:${{WORD}}@host"}}
"""
    called = {"ORCHESTRATOR__ACTIONS__HERE__TYPE": "webhook", "ORCHESTRATOR__ACTIONS__HERE__URL": "https://here"}
    found = read(tmp_path, text, WORD="a/b", **called).valid().actions
    assert {name: sorted(secrets_of(target)) for name, target in found.items()} == {
        "hook": ["of $$ a ${FILE}", "of $$ a ${FILE}"],
        "chat": ["https://host"],
        "line": [],
        "far": ["redis://:a%2Fb@host"],
        "here": ["https://here"],
    }
    assert told(read(tmp_path, "actions: {a: {type: queue, strem: x}}")) == [
        "1:28: unknown key 'strem'; did you mean 'stream'?"
    ]


def test_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text("geheim")
    tls = "server: {tls: {enabled: true, cert_file: ~/key, key_file: ~/key}}"
    found = read(tmp_path, f"{tls}\nsmtp: {{password_file: ~/key}}", for_server=True)
    assert found.problems == ()
    assert [*secrets_of(found.valid())] == ["geheim"]


def test_what_is_empty_is_absent_wherever_a_value_may_be_absent(tmp_path: Path) -> None:
    text = """
execution: {executor: {task_timeout: ""}, resources: {memory_limit: "${UNSET:-}"}}
observability: {metrics: {statsd: ""}}
database: {type: ""}
smtp: {port: ""}
cache: {url: ""}
"""
    assert read(tmp_path, text).valid() == Configuration()


def test_a_variable_stands_for_any_key(tmp_path: Path) -> None:
    reading = read(tmp_path, "server: {port: {http: 1}}", ORCHESTRATOR__SERVER__PORT__HTTP="2", ORCHESTRATOR__HOME="/h")
    assert (reading.valid().server.port.http, reading.valid().home) == (2, Path("/h"))
    reading = read(tmp_path, "", ORCHESTRATOR__SERVER__PORT__HTTP="x", ORCHESTRATOR__SERVER__PROT="1")
    assert told(reading) == [
        "$ORCHESTRATOR__SERVER__PROT: there is no key server.prot; did you mean 'port'?",
        "$ORCHESTRATOR__SERVER__PORT__HTTP: 'http' must be a whole number, not 'x'",
    ]


def test_a_variable_may_hold_a_list_or_a_section(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "smtp: {host: mail}",
        ORCHESTRATOR__SMTP__FROM="a@b.c",
        ORCHESTRATOR__EDGE__QUEUES="one, two",
        ORCHESTRATOR__KUBERNETES__EGRESS_PORTS="[1, 2]",
        ORCHESTRATOR__SERVER__PORT='{"http": 9}',
    )
    found = reading.valid()
    assert (found.smtp.sender, found.edge.queues, found.kubernetes.egress_ports) == ("a@b.c", ("one", "two"), (1, 2))
    assert reading.source(("server", "port", "http")) == "variable ORCHESTRATOR__SERVER__PORT"
    assert reading.source(("server", "port", "grpc")) == "default"


def test_what_the_environment_says_where_the_file_does_not(tmp_path: Path) -> None:
    said = {"AIRFLOW_HOME": "/of/the/environment", "ORCHESTRATOR_ENVIRONMENT": "test"}
    reading = read(tmp_path, "environment: production", **said)
    assert (reading.valid().home, reading.valid().environment) == (Path("/of/the/environment"), "production")
    assert (reading.source(("home",)), reading.source(("environment",))) == (
        "variable AIRFLOW_HOME",
        f"{reading.path}:1",
    )


@pytest.mark.parametrize(
    ("text", "variables", "messages"),
    [
        (
            "",
            {"DATABASE_URL": "mysql://h/d"},
            ["$DATABASE_URL: 'database': 'url' is of no known kind; write one that begins with"],
        ),
        ("", {"ORCHESTRATOR__CACHE__TYPE": "redis"}, ["$ORCHESTRATOR__CACHE__TYPE: 'cache': type 'redis' needs 'url'"]),
        (
            "server: {prot: x}",
            {},
            ["1:10: unknown key 'prot'; did you mean 'port'?", "1:16: 'port' must be a mapping, not 'x'"],
        ),
        ("server: {port: {grpc: '70000'}}", {}, ["1:23: 'grpc' is '70000'; at most 65535 is allowed"]),
        (
            "orchestrator: {server: {prot: 1}}\nserver: {hots: x}",
            {},
            [
                "1:1: there are keys below 'orchestrator', and beside it; put all keys below 'orchestrator', or none",
                "1:25: unknown key 'prot'",
                "1:31: 'port' must be a mapping",
                "2:10: unknown key 'hots'; did you mean 'host'?",
            ],
        ),
        (
            "server: {workers: no}\nexecution: {executor: {type: celery}}",
            {},
            [
                "1:19: 'workers' must be a whole number, not 'no'",
                "several machines cannot share SQLite",
                "needs a queue",
            ],
        ),
        (
            "server: {mode: worker, port: []}\ndatabase: {url: nonsense}\ncache: {type: no}",
            {},
            ["'port'", "'url'", "'type'", "'jwt_secret'", "'server.execution_url'"],
        ),
        (
            "airflow: {core: {executor: []}}",
            {},
            ["'executor' must be a text or a whole number or a number or true or false, not a list"],
        ),
        ("edge: {queues: 5}", {}, ["1:16: 'queues' must be a list, not 5"]),
        ("smtp: {sender: a@b.c}", {}, ["1:8: unknown key 'sender'"]),
        ("execution: {resources: {cpu_limit: nan}}", {}, ["'cpu_limit' must be a finite number, not 'nan'"]),
        (
            "execution: {resources: {memory_limit: 16}}",
            {},
            ["'memory_limit': no server runs on 16 bytes; write at least 64Mi"],
        ),
        (
            "storage: {results: folder, results_above: 1.5}",
            {},
            ["'folder' is neither a URL of object storage", "1.5 is no whole number of bytes"],
        ),
        ("security: {authentication: {jwt_expiry: 500ms}}", {}, ["'jwt_expiry' is '500ms'; at least 1 is needed"]),
        (
            "observability: {metrics: {statsd: 'h:70000'}}",
            {},
            ["'h:70000' is no host with a port; write one such as statsd:8125"],
        ),
        (
            "observability: {metrics: {endpoint: x}, tracing: {endpoint: x}}",
            {},
            ["'x' is no path of a page", "this is no address"],
        ),
        (
            "cache: {type: redis, url: 'amqp://h'}",
            {},
            ["'cache': 'url' is of no known kind; write one that begins with redis://"],
        ),
        ("fault_tolerance: {retry: {default_initial_interval: 1m}}", {}, ["'default_initial_interval' is longer than"]),
        (
            "edge: {api_url: 'https://u:p@h'}",
            {},
            ["'api_url': this address holds a password or a name, and may be shown; take it away"],
        ),
        (
            "integrations: {llm_forge: {endpoint: 'https://u:p@h'}}",
            {},
            [
                "'endpoint': this address holds a password or a name, and may be shown; what is secret belongs into 'token'"
            ],
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_is(
    tmp_path: Path, text: str, variables: dict[str, str], messages: list[str]
) -> None:
    found = sorted(told(read(tmp_path, text, for_server=True, **variables)))
    found = [message for message in found if "warning" not in message]
    assert len(found) == len(messages), found
    assert all(any(message in each for each in found) for message in messages), found


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
        (f"{SITE}  api_url: 'centre:8080'", ["'api_url': this is no address; write one such as https://example.com"]),
        (f"{SITE}  api_url: https://c/execution/", ["'https://c/execution/' is where tasks report"]),
        (f"{SITE}  api_url: https://c\n  name: {'n' * 65}", ["has 64 characters at most, not 65"]),
        (f"{SITE}  api_url: https://c\n  queues: []", ["'queues': at least one queue is needed"]),
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
        (
            "server: {mode: worker, execution_url: 'http://h'}\nexecution: {executor: {type: kubernetes}}\n"
            f"{SIGNED}\ndatabase: {{url: 'postgresql://h/d'}}",
            ["the mode 'worker' has no tasks to take with executor type 'kubernetes'"],
        ),
        (
            "server: {port: {http: 8080, execution: 8080}}",
            ["'execution' is 8080, and so is 'http'; write another port"],
        ),
        ("server: {port: {http: 65535}}", ["tasks would report to port 65536, the next one after 'http'"]),
        ("topology: {load_balancer: {http: 443}}", []),
        ("topology: {load_balancer: {http: 443, certificate: /c}}", ["'https' is 443, and so is 'http'"]),
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
        ("security: {audit: {enabled: true}}", "'security.audit.enabled' changes nothing"),
        ("security: {authorization: {policy_file: /p}}", "'security.authorization.policy_file' changes nothing"),
        ("integrations: {llm_governance: {enforce_policies: true}}", "enforce_policies' changes nothing"),
        ("integrations: {llm_test_bench: {auto_evaluate: true}}", "auto_evaluate' changes nothing"),
        (
            "server: {mode: scheduler}\nexecution: {executor: {type: local}}\ndatabase: {url: 'postgresql://h/d'}\n"
            + SIGNED,
            "the executor 'local' runs all tasks on the scheduler's machine",
        ),
        ("server: {tls: {enabled: true, cert_file: /no, key_file: /no}}", "/no cannot be read on this machine"),
        (
            "security: {authentication: {provider: oauth2}}",
            "'security.authentication.provider' changes nothing; not part of this version: the login service",
        ),
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
        "smtp: {pasword: hunter-2-hunter}",
        "smtp: {host: [], password: hunter}",
        "smtp: {host: [], password: 'it''s hunter'}",
        'smtp: {host: [], password: "hu\\u006eter"}',
        "smtp: {password: {hunter}}",
        "smtp: {password: [hunter, {a: hunter}]}",
        "smtp: hunter",
        "airflow: hunter",
        "airflow: {smtp: hunter}",
        "integrations: {llm_forge: {api_keys: hunter}}",
        "integrations: {llm_forge: {api_keys: [hunter]}}",
        "integrations: {llm_forge: {key: hunter, token: x}}",
        "actions: {a: {type: webhook, url: hunter, headers: {authorization: hunter}, nonsense: 1}}",
        "actions: {a: {type: nonsense, url: hunter, headers: {authorization: hunter}}}",
        "actions: {a: {url: hunter}}",
        "storage: {options: {gs: hunter}}",
        "storage: {options: {gs: {token: hunter}}, s3: 5}",
        "smtp: {password: hunter: 5}",
        "smtp:\n  password: 'hunter\n  port: 5\n",
        "smtp: {password: '${hunter'}",
        "server: {host: '${UNSET}'}\nslack: {webhook_url: hunter}",
        "{environment: '${UNSET}', slack: {webhook_url: hunter}}",
        "edge: {api_url: 'https://user:hunter@host'}",
        "edge: {api_url: 'https://user:hunter/x@host'}",
        "edge: {api_url: 'https://hunter@host'}",
        "edge: {api_url: 'https://host/?token=hunter'}",
        "kubernetes: {git: {repository: 'https://hunter@host/team/flows'}}",
        "topology: {postgres: {etcd: ['http://user:hunter@etcd:2379']}}",
        "database: {url: 'postgresql://user:p@hunter@h/d'}",
        "database: {url: 'postgresql://user:12/hunter@h/d'}",
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    reading = read(tmp_path, text, for_server=True, SECRET="hunter-2-hunter")
    assert reading.problems
    shown = "".join(problem.excerpt() for problem in reading.problems)
    assert "hunter" not in shown.replace("${hunter", "").replace("variable hunter", ""), shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORCHESTRATOR__INTEGRATIONS__LLM_FORGE__API_KEYS", "hunter"),
        ("ORCHESTRATOR__INTEGRATIONS__LLM_FORGE__API_KEYS", '["hunter"]'),
        ("ORCHESTRATOR__SMTP", "hunter"),
        ("ORCHESTRATOR__STORAGE__OPTIONS__GS", "hunter"),
        ("ORCHESTRATOR__SECURITY__FERNET_KEY", "hunter"),
        ("ORCHESTRATOR__ACTIONS__A__URL", "hunter"),
        ("DATABASE_URL", "mysql://hunter"),
        ("JAEGER_ENDPOINT", "http://user:hunter@jaeger"),
    ],
)
def test_no_error_of_a_variable_shows_a_secret(tmp_path: Path, name: str, value: str) -> None:
    reading = read(tmp_path, "actions: {a: {}}", for_server=True, **{name: value})
    assert any(problem.path == f"${name}" or name.endswith("URL") for problem in reading.problems)
    assert "hunter" not in "".join(problem.excerpt() for problem in reading.problems)


def test_every_key_is_described() -> None:
    keys = describe()
    # The sections of a cluster and of machines say what their keys are about.
    told = [key for key in keys.values() if not key.name.startswith(("kubernetes.", "topology."))]
    assert {key.name: key.meaning for key in told if len(key.meaning.split()) < 5} == {}
    assert {key.name for key in keys.values() if not key.meaning} == set()
    assert {name for name, meaning in sections().items() if len(meaning.split()) < 2} == set()
    assert keys["execution.executor.worker_threads"].settings == (
        "AIRFLOW__CELERY__WORKER_CONCURRENCY",
        "AIRFLOW__CORE__PARALLELISM",
    )
    assert {key.name for key in keys.values() if not key.settings and not key.reader} == set()
    assert keys["fault_tolerance.circuit_breaker.timeout"].default == "1m"
    assert keys["execution.resources.memory_limit"].kind == "size"
    assert keys["actions.NAME.type"].kind == "webhook \\| slack \\| email \\| queue"


def test_the_table_in_the_docs_is_what_the_code_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_SNAPSHOTS"):
        head, _, below = page.partition("| Key | Type | Default | Meaning | Read by |\n")
        page = head + key_table() + below[below.index("\n\n") + 1 :]
        PAGE.write_text(page, encoding="utf-8")
    assert key_table() in page, "run this test with UPDATE_SNAPSHOTS=1"


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


@pytest.mark.shows("observability.metrics.enabled")
def test_numbers_are_asked_of_the_chart() -> None:
    def statsd(*, enabled: bool) -> Any:
        said = {"observability": {"metrics": {"enabled": enabled}}, "cache": {"type": "redis", "url": "redis://h"}}
        said |= {"database": {"url": "postgresql://h/d"}, "server": {"mode": "api"}}
        source = Source(Configuration.model_validate(said), "", {}, ())
        return yaml.safe_load(render("helm", source)["values.yaml"])["statsd"]["enabled"]

    assert (statsd(enabled=True), statsd(enabled=False)) == (True, False)


def test_what_is_exported_exists() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
