"""What is secret gets into Secrets, and into no file that many may read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from airflow_llm_provider.cli import main

FILE = """
server: {mode: api}
database: {type: postgresql, url: "${DATABASE_URL}"}
cache: {type: redis, url: "${REDIS_URL}"}
execution: {executor: {type: celery}}
integrations: {llm_forge: {api_keys: {openai: "${OPENAI_API_KEY}", anthropic: "${ANTHROPIC_API_KEY:-}"}}}  # not ${THIS}
storage: {results: "s3://results/", s3: {access_key_id: "${KEY:-minio}", secret_access_key: "${SECRET}"}}
airflow: {smtp: {smtp_host: mail, smtp_password: "${SMTP_PASSWORD}"}}
kubernetes: {autoscaler: keda, git: {repository: "https://git.example.com/a.git", secret: git-credentials}}
"""
GIVEN = {
    "DATABASE_URL": "postgresql://user:word@database/orchestrator",
    "REDIS_URL": "redis://:word@cache:6379/0",
    "OPENAI_API_KEY": "sk-1",
    "SECRET": "miniominio",
    "SMTP_PASSWORD": "said to nobody",
    "GIT_USERNAME": "reader",
    "GIT_PASSWORD": "word",
}
BASE = 'server: {mode: api}\ndatabase: {url: "${DATABASE_URL}"}\ncache: {type: redis, url: "${REDIS_URL}"}\n'


class Command:
    """``config render`` of a file, with variables."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._monkeypatch, self._capsys = tmp_path / "orchestrator.yaml", monkeypatch, capsys

    def __call__(self, target: str, text: str = FILE, **variables: str) -> tuple[int, str, str]:
        self.path.write_text(text)
        with self._monkeypatch.context() as patch:
            for name in (*GIVEN, "JWT_SECRET", "FERNET_KEY"):
                patch.delenv(name, raising=False)
            for name, value in variables.items():
                patch.setenv(name, value)
            code = main(["config", "render", target, "--config", str(self.path)])
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def documents(self, target: str, text: str = FILE, **variables: str) -> list[Any]:
        code, said, told = self(target, text, **variables)
        assert code == 0, told
        return [document for document in yaml.safe_load_all(said) if document]

    def values(self, text: str = FILE, **variables: str) -> dict[str, Any]:
        _, said, _ = self("helm", text, **variables)
        made: dict[str, Any] = yaml.safe_load(said.split("# --- ")[1].partition("\n")[2])
        return made


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give the command."""
    return Command(tmp_path, monkeypatch, capsys)


def held_in(documents: list[Any]) -> dict[str, dict[str, str]]:
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    return {it["metadata"]["name"]: it["stringData"] for it in documents}


def test_they_hold_what_the_values_refer_to(render: Command) -> None:
    told, made = held_in(render.documents("secrets", **GIVEN)), held_in(render.documents("keys", **GIVEN))
    assert not {*told} & {*made}
    held, values = {**told, **made}, render.values()
    assert all(item["secretKey"] in held[item["secretName"]] for item in values["secret"])
    assert all("connection" in held[name] for name in values["data"].values())
    for name, entry in (
        (values["fernetKeySecretName"], "fernet-key"),
        (values["jwtSecretName"], "jwt-secret"),
        (values["apiSecretKeySecretName"], "api-secret-key"),
        (values["apiServer"]["extraVolumes"][0]["secret"]["secretName"], "passwords.json"),
    ):
        assert len(made[name][entry]) > 20
    main_one = told["orchestrator-secrets"]
    assert main_one["openai-api-key"] == "sk-1"
    assert main_one["key"] == "minio"
    assert main_one["airflow--smtp--smtp-password"] == "said to nobody"
    assert {"envName": "AIRFLOW__SMTP__SMTP_PASSWORD", "secretName": "orchestrator-secrets",
            "secretKey": "airflow--smtp--smtp-password"} in values["secret"]  # fmt: skip
    # What may be absent is empty, which counts as absent.
    assert main_one["anthropic-api-key"] == ""
    assert "this" not in main_one
    assert json.loads(main_one["airflow-conn-llm-storage"])["password"] == "miniominio"
    assert told["orchestrator-secrets-database"]["connection"].startswith("postgresql+psycopg://user:word@")
    assert told["orchestrator-secrets-database"]["plain"].startswith("postgresql://user:word@")
    assert told["git-credentials"] == {
        "GIT_SYNC_USERNAME": "reader", "GIT_SYNC_PASSWORD": "word", "GITSYNC_USERNAME": "reader", "GITSYNC_PASSWORD": "word",
    }  # fmt: skip


def test_what_the_file_names_is_not_made(render: Command) -> None:
    security = (
        'security: {authentication: {jwt_secret: "${JWT_SECRET}", admin_password: "${ADMIN_PASSWORD}"}}\n'
        'airflow: {core: {fernet_key: "${FERNET_KEYS}"}}\n'
    )
    given = {**GIVEN, "JWT_SECRET": "j" * 64, "ADMIN_PASSWORD": "opens it", "FERNET_KEYS": "new,old"}
    told = held_in(render.documents("secrets", BASE + security, **given))
    assert told["orchestrator-secrets"]["jwt-secret"] == "j" * 64
    assert told["orchestrator-secrets"]["fernet-key"] == "new,old"
    assert json.loads(told["orchestrator-secrets-admin"]["passwords.json"]) == {"admin": "opens it"}
    made = held_in(render.documents("keys", BASE + security, **given))
    assert {name: [*held] for name, held in made.items()} == {"orchestrator-secrets-keys": ["api-secret-key"]}
    # The values are the same wherever they are made.
    assert render.values(BASE + security) == render.values(BASE + security, **given)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "REDIS_URL", "GIT_PASSWORD"])
def test_what_is_not_set_is_named(render: Command, name: str) -> None:
    given = {variable: value for variable, value in GIVEN.items() if variable != name}
    code, said, told = render("secrets", **given)
    assert (code, said) == (2, "")
    assert f"{name}: not set" in told


@pytest.mark.parametrize("target", ["secrets", "keys"])
def test_they_do_not_become_files(render: Command, target: str, tmp_path: Path) -> None:
    render.path.write_text(FILE)
    assert main(["config", "render", target, "--config", str(render.path), "--output", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("integrations: {llm_forge: {api_keys: {openai: sk-literal}}}", "line 4 of the file holds a secret"),
        ("airflow: {smtp: {smtp_password: sk-literal}}", "line 4 of the file holds a secret"),
        ("execution: {queue: {url: 'redis://:sk-literal@h/1'}}", "line 4 of the file holds a secret"),
        ("security: {authentication: {jwt_secret_file: FILE}}", "jwt: no pod has this; write ${VARIABLE}"),
        (
            'observability: {tracing: {enabled: true, endpoint: "http://user:${TOKEN}@jaeger:4318/v1/traces"}}',
            "'endpoint': this address holds a password or a name",
        ),
        (
            'kubernetes: {git: {repository: "https://user:${TOKEN}@git.example.com/a.git"}}',
            "'repository': this address holds a password or a name",
        ),
        ('kubernetes: {git: {repository: "https://${TOKEN}@h/a.git"}}', "'repository': this address holds a password or a name"),
        ('server: {mode: api, base_url: "https://user:${TOKEN}@h"}', "'base_url': this address holds a password or a name"),
        ('observability: {logging: {tasks: "s3://id:${TOKEN}@logs/"}}', "'tasks': this address holds a password or a name"),
        # By a key that is for no secret.
        ('actions: {a: {type: webhook, url: "https://h", headers: {x: "${TOKEN}"}}}\nairflow: {core: {test: "${TOKEN}"}}',
         "would hold a secret, the value of TOKEN"),
        ('airflow: {core: {test: "${UNSET}"}}', "UNSET: not set, and values.yaml would hold its value"),
    ],
)  # fmt: skip
def test_a_secret_gets_into_no_file(render: Command, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "jwt").write_text("s" * 64)
    head = BASE if not text.startswith("server") else BASE.partition("\n")[2]
    code, said, told = render("helm", f"{head}{text.replace('FILE', str(tmp_path / 'jwt'))}\n", TOKEN="sk-literal%1")
    assert (code, said) == (2, "")
    assert message in told
    assert "sk-literal" not in told


SECRET_KEYS = [
    "database: {url: 'postgresql://u:${S}@h/d'}",
    "cache: {type: redis, url: 'redis://:${S}@h'}",
    "execution: {queue: {url: 'amqp://u:${S}@h//', result_backend: 'redis://:${S}@h'}}",
    "integrations: {llm_forge: {api_keys: {openai: '${S}'}, token: '${S}'}}",
    "security: {authentication: {jwt_secret: '${S}', admin_password: '${S}'}, session_key: '${S}'}",
    "storage: {results: 's3://r/', s3: {access_key_id: '${S}', secret_access_key: '${S}', session_token: '${S}'}}",
    "smtp: {host: mail, from: a@b.c, user: u, password: '${S}'}",
    "slack: {webhook_url: 'https://hooks.example.com/${S}'}",
    "airflow: {core: {fernet_key: '${S}'}}",
    "airflow: {smtp: {smtp_password: '${S}'}}",
    "airflow: {sentry: {sentry_dsn: 'https://${S}@sentry.example.com/1'}}",
    "airflow: {database: {sql_alchemy_conn: 'postgresql+psycopg://u:${S}@h/d'}}",
    'airflow: {secrets: {backend_kwargs: \'{"token": "${S}"}\'}}',
]


@pytest.mark.parametrize("line", SECRET_KEYS)
@pytest.mark.parametrize("target", ["helm", "haproxy", "patroni", "systemd"])
def test_no_file_has_what_a_key_keeps_secret(render: Command, line: str, target: str) -> None:
    topology = "topology: {api_servers: [a], postgres: {nodes: {one: 10.0.2.1}, etcd: ['10.0.3.1:2379']}}\n"
    head = "".join(it for it in BASE.splitlines(keepends=True) if it.partition(":")[0] != line.partition(":")[0])
    secret = "q7%Zx/0123456789"
    code, said, told = render(target, head + topology + line + "\n", S=secret)
    assert code == 0, told
    assert said
    assert "q7" not in said
    # The same where nobody has set it.
    assert render(target, head + topology + line + "\n")[1] == said


@pytest.mark.parametrize("target", ["haproxy", "patroni", "systemd"])
def test_no_file_of_a_machine_takes_its_variables(render: Command, target: str) -> None:
    topology = "topology: {api_servers: [a], postgres: {nodes: {one: 10.0.2.1}, etcd: ['10.0.3.1:2379']}}\n"
    code, said, told = render(target, BASE + topology + 'security: {fernet_key: "${FERNET_KEY}"}\n')
    assert code == 0, told
    assert "stand-in" not in said


def test_pods_have_no_variable_that_the_file_does_not_name(render: Command) -> None:
    without = BASE.replace('database: {url: "${DATABASE_URL}"}\n', "")
    code, _, told = render("helm", without, DATABASE_URL="postgresql://user:word@database/orchestrator")
    assert code == 2
    assert "'database.url': pods cannot share SQLite" in told


def test_a_machine_has_variables_that_stand_for_keys(render: Command) -> None:
    _, said, _ = render("haproxy", BASE + "topology: {api_servers: [a]}\n", ORCHESTRATOR__SERVER__PORT__HTTP="8090")
    assert "a:8090 check" in said
