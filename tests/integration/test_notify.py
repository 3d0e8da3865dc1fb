"""Notifications and actions, against a real SMTP server, a real HTTP server, and Redis's wire."""

from __future__ import annotations

import email
import email.policy
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from airflow_llm_provider.config.settings import Settings, load_settings
from airflow_llm_provider.engine.result import RunResult
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from dag_factory import read_text
from tests.conftest import free_port

SECRET_PATH = "/services/T0000SECRET/B0000SECRET/token-of-the-hook"


@dataclass
class Web:
    """An HTTP server that keeps what it is sent."""

    url: str = ""
    status: int = 200
    answer: str = "ok"
    got: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Web]:
    kept = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.got.append((self.command, self.path, headers, json.loads(body) if body else None))
            self.send_response(kept.status)
            self.end_headers()
            answer = kept.answer.format(path=self.path, authorization=self.headers.get("authorization"))
            self.wfile.write(answer.encode())

        do_PUT = do_POST  # noqa: N815 - the name that the library calls

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        kept.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield kept
        listening.shutdown()
        thread.join()


@dataclass
class Mailbox:
    """An SMTP server that keeps what it is sent."""

    port: int = 0
    refuses: str = ""
    answers: str = "250 OK"
    got: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: Any) -> str:  # noqa: N802
        if self.refuses and self.refuses in address:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        # Lines end in CRLF on the wire.
        message = email.message_from_bytes(envelope.content.replace(b"\r\n", b"\n"), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.got.append((list(envelope.rcpt_tos), message))
        return self.answers

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(f"{data.login.decode()}:{data.password.decode()}")
        if data.password == b"right-password":
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=f"535 not {data.password.decode()}")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    kept = Mailbox()
    controller = Controller(
        kept,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=kept.authenticate,
        auth_require_tls=False,
        auth_exclude_mechanism=["LOGIN"],
    )
    controller.start()
    kept.port = controller.port
    yield kept
    controller.stop()


def smtp(mailbox: Mailbox, **further: Any) -> dict[str, Any]:
    server = {"host": "127.0.0.1", "port": mailbox.port, "starttls": False, "from": "Flows <flows@example.com>"}
    return {**server, **further}


def settings(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


async def run(step: dict[str, Any], given: Settings | None = None, **inputs: object) -> RunResult:
    document = {"name": "daily", "steps": [{"id": "a", "retry": {"max_attempts": 1}, **step}]}
    result = read_text("w.yaml", json.dumps(document))
    assert not result.errors, "\n".join(map(str, result.errors))
    async with Runtime(settings=given) as runtime:
        return await run_workflow(result.workflows[0], inputs, runtime, run_id="run-1")


def given_by(result: RunResult) -> Any:
    assert result.error is None
    return result.steps["a"].outputs["output"]


def outbox(result: RunResult) -> dict[str, Any]:
    """Read the one entry of the outbox, without what is the same in all of them."""
    [line] = Path(given_by(result)["outbox"]).read_text().splitlines()
    entry: dict[str, Any] = json.loads(line)
    assert (entry.pop("workflow"), entry.pop("run_id"), entry.pop("step")) == ("daily", "run-1", "a")
    assert entry.pop("time").endswith("+00:00")
    return entry


@pytest.mark.parametrize(
    ("given", "payload"),
    [
        ({"text": "*done*"}, {"text": "*done*"}),
        ({"message": {"a": 1}, "channel": "#ops"}, {"text": '{"a": 1}', "channel": "#ops"}),
        ({"blocks": [{"type": "divider"}]}, {"blocks": [{"type": "divider"}]}),
    ],
)
async def test_slack(web: Web, given: dict[str, Any], payload: dict[str, Any]) -> None:
    step = {"type": "notification:slack", "webhook_url": "{{ inputs.hook }}", **given}
    result = await run(step, hook=web.url + SECRET_PATH)
    assert given_by(result) == {"channel": "slack", "delivered": True}
    [(method, path, headers, body)] = web.got
    assert (method, path, headers["content-type"], body) == ("POST", SECRET_PATH, "application/json", payload)


async def test_slack_of_the_settings(web: Web) -> None:
    given = settings(slack={"webhook_url": web.url + SECRET_PATH})
    assert given_by(await run({"type": "notification:slack", "text": "x"}, given))["delivered"] is True
    assert web.got[0][1] == SECRET_PATH


async def test_what_slack_refuses_does_not_show_the_webhook(web: Web) -> None:
    web.status, web.answer = 403, "invalid_token in {path}"
    result = await run({"type": "notification:slack", "webhook_url": web.url + SECRET_PATH, "text": "x"})
    assert result.error == "a: AuthenticationError: 127.0.0.1 answered 403: invalid_token in /***/***/***/***"


async def test_slack_without_a_target_goes_to_the_outbox(tmp_path: Path) -> None:
    given = settings(outbox=tmp_path, slack={"webhook_url": ""})
    step = {"type": "notification:slack", "text": "hello", "channel": "#ops", "webhook_url": "{{ inputs.none }}"}
    result = await run(step, given)
    assert given_by(result) == {"channel": "slack", "delivered": False, "outbox": str(tmp_path / "slack.jsonl")}
    assert outbox(result) == {"action": "slack", "data": {"text": "hello", "channel": "#ops"}}


async def test_email(mailbox: Mailbox) -> None:
    step = {
        "type": "notification:email",
        "to": "Ann <ann@example.com>, ben@example.com",
        "subject": "{{ inputs.subject }}",
        "body": "Grüße\nfrom the run",
    }
    for _ in range(2):
        result = await run(step, settings(smtp=smtp(mailbox)), subject="Done\r\nBcc: eve@example.com")
        to = ["Ann <ann@example.com>", "ben@example.com"]
        assert given_by(result) == {"channel": "email", "delivered": True, "to": to}
    (recipients, mail), (_, again) = mailbox.got
    assert recipients == ["ann@example.com", "ben@example.com"]
    assert (mail["subject"], mail["from"]) == ("Done Bcc: eve@example.com", "Flows <flows@example.com>")
    assert mail["bcc"] is None
    assert mail.get_content() == "Grüße\nfrom the run\n"
    # A mail program shows one mail for two tries.
    assert mail["message-id"] == again["message-id"]


async def test_email_with_a_login(mailbox: Mailbox) -> None:
    step = {"type": "notification:email", "to": ["ann@example.com"], "message": "x"}
    given = settings(smtp=smtp(mailbox, user="flows", password="right-password"))
    assert given_by(await run(step, given))["delivered"] is True
    assert mailbox.logins == ["flows:right-password"]
    assert mailbox.got[0][1]["subject"] == "daily"
    result = await run(step, settings(smtp=smtp(mailbox, user="flows", password="wrong-password")))
    assert result.error is not None
    assert result.error.startswith(f"a: AuthenticationError: 127.0.0.1:{mailbox.port} refused the login: 535 ")
    assert "wrong-password" not in result.error


@pytest.mark.parametrize(
    ("to", "answers", "error"),
    [
        (["no@example.com"], "250 OK", "InvalidRequest: {where} refused no@example.com: 550 nobody of that name"),
        (["a@example.com"], "451 later", "ServiceUnavailable: {where} refused: 451 later"),
        (["a@example.com"], "554 spam", "InvalidRequest: {where} refused: 554 spam"),
    ],
)
async def test_what_a_mail_server_refuses(mailbox: Mailbox, to: list[str], answers: str, error: str) -> None:
    mailbox.refuses, mailbox.answers = "no@", answers
    step = {"type": "notification:email", "to": to, "message": "x"}
    result = await run(step, settings(smtp=smtp(mailbox)))
    assert result.error == "a: " + error.format(where=f"127.0.0.1:{mailbox.port}")


async def test_some_recipients_are_refused(mailbox: Mailbox) -> None:
    mailbox.refuses = "no@"
    step = {"type": "notification:email", "to": "yes@example.com,no@example.com", "message": "x"}
    assert given_by(await run(step, settings(smtp=smtp(mailbox)))) == {
        "channel": "email",
        "delivered": True,
        "to": ["yes@example.com"],
        "refused": ["no@example.com"],
    }


async def test_a_mail_server_that_cannot_encrypt_gets_nothing(mailbox: Mailbox) -> None:
    step = {"type": "notification:email", "to": "ann@example.com", "message": "x"}
    result = await run(step, settings(smtp=smtp(mailbox, starttls=True)))
    assert result.error is not None
    assert "cannot do what smtp in orchestrator.yaml asks for: STARTTLS" in result.error
    assert mailbox.got == []


async def test_no_mail_server_answers() -> None:
    step = {"type": "notification:email", "to": "ann@example.com", "message": "x"}
    server = {"host": "127.0.0.1", "port": free_port(), "from": "a@b.c"}
    result = await run(step, settings(smtp=server))
    assert result.error is not None
    assert result.error.startswith("a: ConnectionError: the connection to 127.0.0.1:")


async def test_email_without_a_server_goes_to_the_outbox(tmp_path: Path) -> None:
    step = {"type": "notification:email", "to": "ann@example.com", "subject": "s", "body": "{{ secrets.word }}"}
    document = {"name": "daily", "steps": [{"id": "a", **step}]}
    [workflow] = read_text("w.yaml", json.dumps(document)).workflows
    async with Runtime(settings=settings(outbox=tmp_path), secret=lambda key: "swordfish") as runtime:
        result = await run_workflow(workflow, {}, runtime, run_id="run-1")
    assert given_by(result) == {"channel": "email", "delivered": False, "outbox": str(tmp_path / "email.jsonl")}
    assert outbox(result) == {
        "action": "email",
        "data": {"to": ["ann@example.com"], "subject": "s", "body": "***"},
    }


ALERT = {"type": "notification:alert", "severity": "high", "message": "Budget <!channel> exceeded"}


async def test_an_alert_goes_where_there_is_a_target(web: Web, mailbox: Mailbox, tmp_path: Path) -> None:
    slack = {"webhook_url": web.url + SECRET_PATH}
    alerts = {"to": "ops@example.com", "webhook_url": f"{web.url}/alerts", "headers": {"authorization": "any-secret"}}
    everything = settings(slack=slack, alerts=alerts, smtp=smtp(mailbox), outbox=tmp_path)
    assert given_by(await run(ALERT, everything))["channel"] == "slack"
    assert web.got.pop()[3] == {
        "text": "[HIGH] Budget &lt;!channel&gt; exceeded\nworkflow daily, run run-1, step a",
    }
    assert given_by(await run(ALERT | {"channel": "email"}, everything))["to"] == ["ops@example.com"]
    mail = mailbox.got[0][1]
    assert mail["subject"] == "[HIGH] daily: Budget <!channel> exceeded"
    assert mail.get_content() == "Budget <!channel> exceeded\n\nworkflow daily, run run-1, step a\n"
    web.answer = '{{"by": "{authorization}"}}'
    by_webhook = {"channel": "webhook", "delivered": True, "status": 200, "body": {"by": "***"}}
    assert given_by(await run(ALERT | {"channel": "webhook"}, everything)) == by_webhook
    _, path, headers, body = web.got.pop()
    assert (path, headers["authorization"]) == ("/alerts", "any-secret")
    assert body.pop("time").endswith("+00:00")
    assert body == {
        "severity": "high",
        "message": "Budget <!channel> exceeded",
        "workflow": "daily",
        "run_id": "run-1",
        "step": "a",
    }
    only_mail = settings(alerts={"to": "ops@example.com"}, smtp=smtp(mailbox))
    assert given_by(await run(ALERT, only_mail))["channel"] == "email"
    preferred = settings(slack=slack, alerts=alerts | {"channel": "webhook"}, outbox=tmp_path)
    assert given_by(await run(ALERT, preferred))["channel"] == "webhook"


@pytest.mark.parametrize(("given", "channel"), [({}, "outbox"), ({"channel": "email"}, "email")])
async def test_an_alert_without_a_target_goes_to_the_outbox(
    tmp_path: Path, given: dict[str, str], channel: str
) -> None:
    # Mail has no target as long as nobody is to get it.
    sections = settings(outbox=tmp_path, smtp={"host": "127.0.0.1", "from": "a@b.c"})
    result = await run(ALERT | given, sections)
    assert given_by(result) == {"channel": channel, "delivered": False, "outbox": str(tmp_path / "alert.jsonl")}
    assert outbox(result) == {
        "action": "alert",
        "data": {"message": "Budget <!channel> exceeded", "severity": "high", **given},
    }


async def test_an_alert_of_a_run_that_failed_tells_why(web: Web) -> None:
    document = """
name: daily
steps: [{id: gate, type: "orchestrator:assert", condition: "false", error_message: too bad}]
events: {onFailure: [{type: alert, channel: slack}]}
"""
    [workflow] = read_text("w.yaml", document).workflows
    async with Runtime(settings=settings(slack={"webhook_url": web.url})) as runtime:
        await run_workflow(workflow, {}, runtime, run_id="run-1")
    text = web.got[0][3]["text"].splitlines()[0]
    assert text == "[MEDIUM] the run of workflow daily ended as failed: gate: AssertionFailed: too bad"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"type": "notification:slack"}, "give 'text' or 'blocks'"),
        ({"type": "notification:slack", "text": "a", "message": "b"}, "give 'text' or 'message', not both"),
        ({"type": "notification:email", "to": "a@b.c"}, "give exactly one of 'body' and 'message'"),
        ({"type": "notification:email", "to": "ann", "body": "x"}, "address 1 is none; write name@example.com"),
        ({"type": "notification:alert", "severity": "hgh"}, "did you mean 'high'"),
        ({"type": "notification:alert", "channel": "pager"}, "expected one of slack, email, webhook"),
        ({"type": "action", "action": "notify"}, "action 'notify' needs 'message'"),
        (
            {"type": "action", "action": "notify", "message": "x", "channel": "pager"},
            "action 'notify': channel: Input should be 'slack', 'email' or 'webhook'",
        ),
        (
            {"type": "action", "action": "notify", "message": "x", "urgency": 1},
            "action 'notify': urgency: Extra inputs are not permitted",
        ),
    ],
)
def test_mistakes_are_found_while_reading(step: dict[str, Any], message: str) -> None:
    errors = read_text("w.yaml", json.dumps({"name": "x", "steps": [{"id": "a", **step}]})).errors
    assert len(errors) == 1
    assert message in str(errors[0])


async def test_the_action_notify(web: Web, tmp_path: Path) -> None:
    step = {"type": "action", "action": "notify", "message": "{{ inputs.text }}", "channel": "{{ inputs.channel }}"}
    given = settings(slack={"webhook_url": web.url}, outbox=tmp_path)
    result = await run(step, given, text="ready", channel="slack")
    assert given_by(result) == {"action": "notify", "channel": "slack", "delivered": True}
    assert web.got[0][3] == {"text": "ready\nworkflow daily, run run-1, step a"}
    result = await run(step, given, text="ready", channel="email")
    assert outbox(result) == {"action": "notify", "data": {"message": "ready", "channel": "email"}}
    wrong = await run(step, given, text="ready", channel="pager")
    assert wrong.error is not None
    assert "action 'notify': channel: Input should be 'slack', 'email' or 'webhook'" in wrong.error


SETTINGS = """
smtp: {{host: 127.0.0.1, port: {port}, starttls: false, from: flows@example.com}}
actions:
  publish: {{type: webhook, url: "{web}/publish/token-in-path", method: PUT, headers: {{authorization: Bearer token-in-header}}}}
  page: {{type: slack, webhook_url: "{web}/page"}}
  write: {{type: email, to: [editors@example.com]}}
  queue_review: {{type: queue, redis_url: "{redis}", stream: reviews}}
  archive: {{type: queue, redis_url: "{redis}"}}
  later: {{type: webhook, url: "${{UNSET_URL}}"}}
"""


async def test_actions_that_the_settings_name(
    tmp_path: Path, web: Web, mailbox: Mailbox, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET_URL", raising=False)
    path = tmp_path / "orchestrator.yaml"
    path.write_text(SETTINGS.format(port=mailbox.port, web=web.url, redis=redis_url))
    given = load_settings(path)
    web.answer = "{path} {authorization}"

    async def result(action: str, **data: Any) -> Any:
        return given_by(await run({"type": "action", "action": action, **data}, given))

    assert await result("publish", content="text") == {
        "action": "publish",
        "channel": "webhook",
        "delivered": True,
        "status": 200,
        "body": "/publish/*** ***",
    }
    assert web.got.pop()[:2] == ("PUT", "/publish/token-in-path")
    assert (await result("publish", body=[1]))["delivered"] is True
    assert web.got.pop()[3] == [1]
    assert await result("page", message="a < b") == {"action": "page", "channel": "slack", "delivered": True}
    assert web.got.pop()[3] == {"text": "a &lt; b"}
    assert (await result("write", content="text"))["to"] == ["editors@example.com"]
    assert mailbox.got[0][1]["subject"] == "daily: write"
    assert json.loads(mailbox.got[0][1].get_content()) == {"content": "text"}
    assert (await result("queue_review", priority=1))["queue"] == "reviews"
    assert (await result("archive", priority=2))["queue"] == "archive"
    with redis.Redis.from_url(redis_url) as client:
        [(_, fields)] = client.xrange("reviews")
        [archived] = client.lrange("archive", 0, -1)
    assert json.loads(fields[b"entry"])["data"] == {"priority": 1}
    assert json.loads(archived)["data"] == {"priority": 2}
    kept = await result("later", content="text")
    assert kept["delivered"] is False
    assert Path(kept["outbox"]).name == "later.jsonl"


async def test_queues_that_do_not_take_it(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("taken", "a text")

    async def error(**target: Any) -> str:
        actions = {"q": {"type": "queue", **target}}
        return (await run({"type": "action", "action": "q"}, settings(actions=actions))).error or ""

    where = redis_url.removeprefix("redis://").removesuffix("/0")
    assert (await error(redis_url=redis_url, list="taken")).startswith(f"a: InvalidRequest: {where} refused: WRONGTYPE")
    nobody = await error(redis_url=f"redis://:any-secret@127.0.0.1:{free_port()}")
    assert nobody.startswith("a: ConnectionError: the connection to 127.0.0.1:")
    assert "any-secret" not in nobody
    assert await error(redis_url="any-secret") == (
        "a: ConfigurationError: the 'redis_url' cannot be used; write one such as redis://host:6379/0"
    )
    monkeypatch.setitem(sys.modules, "redis", None)
    assert await error(redis_url=redis_url) == (
        "a: ConfigurationError: the package 'redis' is not installed; "
        "install it with pip install 'airflow-llm-provider[redis]'"
    )
