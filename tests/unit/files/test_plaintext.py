"""Secrets in plain text: which are found, which are not, and that none is repeated anywhere."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest

from airflow_llm_provider.cli.report_formats import FORMATS
from airflow_llm_provider.files.plaintext import find_secrets, names_secret
from dag_factory import load_dags, raise_errors, read_text
from dag_factory.loader import WorkflowErrors


def letters(count: int, seed: str = string.ascii_letters + string.digits) -> str:
    """Make up a key; one that stood here as a whole would be found by those who look for keys in repositories."""
    chance = random.Random(count)
    return "A1b2" + "".join(chance.choice(seed) for _ in range(count - 4))


UPPER = string.ascii_uppercase + string.digits

SHAPES = {
    "openai": "sk-" + letters(48),
    "openai project": "sk-proj-" + letters(60),
    "openrouter": "sk-or-v1-" + letters(64, "0123456789abcdef"),
    "anthropic": "sk-ant-api03-" + letters(90),
    "slack bot": "xoxb-" + "123456789012-123456789012-" + letters(24),
    "github": "ghp_" + letters(36),
    "github fine-grained": "github_pat_" + letters(22) + "_" + letters(59),
    "gitlab": "glpat-" + letters(20),
    "aws": "AKIA" + letters(16, UPPER).upper(),
    "aws session": "ASIA" + letters(16, UPPER).upper(),
    "google": "AIza" + letters(35),
    "jwt": "eyJ" + letters(33) + ".eyJ" + letters(40) + "." + letters(43),
    "slack webhook": "https://hooks.slack.com/services/T" + "01234567/B01234567/" + letters(24),
    "bearer": "Bearer " + letters(32),
    "bearer in prose": "send Authorization: Bearer " + letters(32) + " along",
    "url": "postgresql://reader:" + letters(12) + "@db.example.com/x",
    "url without a user": "redis://:" + letters(12) + "@cache:6379",
    "url with a key": "https://example.com/x?access_token=" + letters(24) + "&y=1",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIE" + letters(60) + "\n-----END RSA PRIVATE KEY-----",
    "openssh key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----\n",
    "huggingface": "hf_" + letters(34),
    "stripe": "sk_" + "live_" + letters(24),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_known_shape_is_found_in_a_prompt(name: str) -> None:
    [secret] = find_secrets({"prompt": f"Use {SHAPES[name]} for it."})
    assert secret.path == ("prompt",)


NO_SECRETS = {
    "prose about passwords": "Never reveal a password, an API key (sk-...) or a token. The password: keep it.",
    "short example": "keys look like sk-abc123 or sk-ant-xxxx or ghp_xxxx",
    "example of words": "sk-your-api-key-goes-here",
    "example of the same character": "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "a word that ends in sk": "a risk-management-and-audit-plan-2024-v3, task-1234567890abcdef1234",
    "a package": "the sk-learn-compatible-estimators library",
    "the header of a key alone": "find lines such as '-----BEGIN PRIVATE KEY-----' in it",
    "a public key": "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEF\n-----END PUBLIC KEY-----",
    "bearer of words": "bearer authentication-mechanisms are explained",
    "template": "Bearer {{ secrets.token }}",
    "expression": "Bearer ${{ secrets.token }}",
    "url with a template": "https://user:{{ secrets.db }}@example.com",
    "url with a placeholder": "https://user:***@example.com and https://user:<password>@example.com",
    "url with a port": "http://localhost:8080/a@b",
    "mail": "mailto:someone@example.com, http://example.com/@someone",
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}


@pytest.mark.parametrize("name", NO_SECRETS)
def test_what_only_looks_like_a_secret_is_none(name: str) -> None:
    assert find_secrets({"prompt": NO_SECRETS[name]}) == []


KEYED = [
    {"api_key": "hunter2"},
    {"apiKey": "hunter2"},
    {"X-Api-Key": "hunter2"},
    {"openai_api_key": "hunter2"},
    {"token": "hunter2"},
    {"slack-token": "hunter2"},
    {"accessToken": "hunter2"},
    {"password": "hunter2"},
    {"DB_PASSWORD": "hunter2"},
    {"password": 123456},
    {"client_secret": "hunter2"},
    {"secret": "hunter2"},
    {"aws_secret_access_key": "hunter2"},
    {"private_key": "hunter2"},
    {"Authorization": "Basic aHVudGVyMg=="},
    {"authorization": "hunter2"},
    {"api_keys": ["hunter2"]},
    {"passphrase": "correct horse battery staple"},
    {"token": {"type": "string", "default": "hunter2"}},
    {"name": "token", "type": "string", "default": "hunter2"},
    {"name": "X-Api-Key", "value": "hunter2"},
]


@pytest.mark.parametrize("data", KEYED, ids=str)
def test_a_value_whose_key_names_a_secret_is_one(data: dict[str, object]) -> None:
    assert len(find_secrets({"headers": data})) == 1


NOT_KEYED = [
    {
        "max_tokens": "hunter2",
        "token_count": "5",
        "tokens": "x",
        "total_tokens": 3,
        "next_token": "abc",
        "stop_token": "</s>",
    },
    {"token": 5, "password": None, "secret": True, "api_key": "", "authorization": "none"},
    {
        "api_key": "{{ secrets.openai }}",
        "password": "${{ inputs.password }}",
        "Authorization": "Bearer {{ secrets.x }}",
    },
    {"api_key": "<your key>", "token": "...", "password": "********", "secret": "xxxx", "apikey": "your-api-key"},
    {"token": "string", "password": {"type": "string", "description": "the password"}, "required": ["password"]},
    {"token": "$.data.token", "key": "password", "tokenizer": "cl100k", "secretary": "Ann", "authorized": "yes"},
    {"password": "Tell the user how to reset it.", "passwords": "are never asked for"},
    {"patterns": {"token": "tk_[a-z]+", "password": "pw=.*"}},
    {"name": "password", "type": "string", "required": True},
]


@pytest.mark.parametrize("data", NOT_KEYED, ids=str)
def test_a_value_that_is_no_secret_is_left_alone(data: dict[str, object]) -> None:
    assert find_secrets({"body": data}) == []


@pytest.mark.parametrize(
    "key", ["", "1", "key", "keys", "sort_key", "primary_key", "tokens", "s3_key", "keyword", "turkey"]
)
def test_a_key_that_names_no_secret(key: str) -> None:
    assert not names_secret(key)


SECRET = "hunter2-" + letters(30)
KEY = SHAPES["openai"]

PLACES = {
    "an input's default": ("name: x\ninputs: {api_key: SECRET}\nSTEPS", "2:19"),
    "a declared input": ("name: x\ninputs: [{name: token, type: string, default: SECRET}]\nSTEPS", "2:47"),
    "a header": ("name: x\nsteps:\n  - {id: a, type: 'http:request', url: u, headers: {X-Api-Key: SECRET}}\n", "3:64"),
    "the provider map": ("name: x\nproviders: {p: {type: openai, endpoint: 'https://a:SECRET@b.c'}}\nSTEPS", "2:52"),
    "a prompt": ("name: x\nsteps:\n  - id: a\n    provider: openai\n    model: m\n    prompt: |\n      Say\n      KEY\n", "8:7"),
    "folded": ("name: x\nsteps:\n  - {id: a, provider: openai, model: m, prompt: 'one\n\n      two KEY'}\n", "5:11"),
    "an event": ("STEPSevents: {onSuccess: {type: webhook, url: u, headers: {token: SECRET}}}\nname: x\n", "3:62"),
    "an output": ("name: x\nSTEPSoutputs: {a: 'KEY'}\n", "4:15"),
    "metadata": ("name: x\nmetadata: {note: KEY}\nSTEPS", "2:18"),
    "a free key": ("name: x\nx-note: {password: SECRET}\nSTEPS", "2:20"),
    "a comment": ("name: x\n# once KEY\nSTEPS", "2:8"),
    "a comment behind": ("name: x # KEY\nSTEPS", "1:11"),
    "a key": ("name: x\nmetadata: {KEY: a}\nSTEPS", "2:12"),
    "an unknown key": ("name: x\npassword: SECRET\nSTEPS", "2:11"),
    "an anchor": ("name: x\nx-a: &a {password: &p \"SECRET\"}\nmetadata: {<<: *a, again: *p}\nSTEPS", "2:24"),
    "a merged mapping": ("name: x\nmetadata: {<<: {password: SECRET}}\nSTEPS", "2:27"),
    "escapes": ('name: x\nmetadata: {password: "\\thunter2 \\u0041"}\nSTEPS', "2:25"),
    "JSON": ('{"name": "x", "metadata": {"password": "SECRET"}, "steps": [{"id": "a", "type": "action", "action": "b"}]}', "1:41"),
    "v1 inputs": (
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x}\nspec:\n"
        "  tasks: [{id: a, executor: action, inputs: {action: x, config: {api_key: SECRET}}}]\n",
        "5:75",
    ),
    "v1 default": (
        "apiVersion: orchestrator.llm/v1\nkind: Template\nmetadata: {name: x}\nspec:\n  parameters: {token: SECRET}\n"
        "  tasks: [{id: a, executor: action, inputs: {action: x}}]\n",
        "5:23",
    ),
    "v1 metadata": (
        "apiVersion: orchestrator.llm/v1\nkind: Workflow\nmetadata: {name: x, annotations: {a: KEY}}\nspec:\n"
        "  tasks: [{id: a, executor: action, inputs: {action: x}}]\n",
        "3:38",
    ),
}  # fmt: skip


def written(text: str) -> str:
    steps = "steps:\n  - {id: a, type: action, action: log, message: m}\n"
    return text.replace("STEPS", steps).replace("SECRET", SECRET).replace("KEY", KEY)


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_an_error_at_its_place_and_is_not_repeated(place: str) -> None:
    text, expected = PLACES[place]
    result = read_text("w.yaml", written(text))
    assert result.workflows == ()
    leaks = [item for item in result.errors if "in plain text" in item.message]
    assert [f"{item.line}:{item.column}" for item in leaks] == [expected]
    assert_hidden("".join(item.excerpt() for item in result.diagnostics))
    for write in FORMATS.values():
        assert_hidden(write(result.diagnostics))


def assert_hidden(text: str) -> None:
    assert "hunter2" not in text
    assert SECRET[-10:] not in text
    assert KEY[-10:] not in text


def test_no_other_message_repeats_it() -> None:
    text = written(
        """\
name: x
steps:
  - {id: a, provider: KEY, model: m, prompt: p, max_tokens: KEY, KEY: 1, timeout_seconds: KEY}
  - {id: b, type: KEY, depends_on: [KEY]}
  - {id: c, provider: openai, model: m, prompt: '{{ steps.KEY }} {{ hunter2 }', api_key: SECRET}
  - {id: c, provider: openai, model: m, prompt: p, temperature: hunter2, metadata: {password: hunter2}}
"""
    )
    result = read_text("w.yaml", text)
    assert len(result.errors) > 8
    assert_hidden("".join(f"{item.excerpt()}{item!r}" for item in result.diagnostics))


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nmetadata: {password: SECRET\nsteps: [\n",
        "name: x\npassword: SECRET: b\n",
        "name: x\nnote: KEY\n\tb: KEY\n",
        "name: x\n\"api_key\": 'SECRET' x\n",
        'name: x\npassword: "SECRET\n',
    ],
)
def test_a_file_that_is_no_yaml_does_not_show_it(text: str) -> None:
    [error] = read_text("w.yaml", written(text)).errors
    assert_hidden(f"{error.excerpt()}{error!r}")


def test_the_rest_of_a_file_shows_it_nowhere_in_airflow(tmp_path: Path) -> None:
    good = "name: good\nsteps:\n  - {id: a, type: action, action: log, message: m}\n"
    bad = written("name: bad\nmetadata: {password: SECRET, note: KEY}\n# KEY\nSTEPS")
    (tmp_path / "both.yaml").write_text(f"{good}---\n{bad}")
    dags = load_dags(tmp_path)
    assert [*dags] == ["good"]
    assert_hidden(str(dags["good"].doc_md))
    # The Code tab would show the file as it is.
    assert not hasattr(dags["good"], "workflow_file")
    with pytest.raises(WorkflowErrors) as caught:
        raise_errors(tmp_path)
    assert "3 errors in 1 workflow file" in str(caught.value)
    assert_hidden(str(caught.value))


def test_a_file_with_a_secret_and_an_error_of_linking() -> None:
    text = written(
        "name: bad\nmetadata: {password: SECRET}\nSTEPS---\n"
        "name: good\nsteps:\n  - {id: a, type: 'orchestrator:workflow', workflow: go}\n"
    )
    result = read_text("w.yaml", text)
    assert [item.line for item in result.errors] == [2, 8]
    assert_hidden(json.dumps([repr(item) for item in result.diagnostics]))
