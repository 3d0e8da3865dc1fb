"""The provider without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider import errors
from airflow_llm_provider.clients.base import ChatClient, ChatRequest, Credentials, Message
from airflow_llm_provider.clients.scripted import ScriptedChat


def scripted(*answers: dict[str, Any], **options: Any) -> ScriptedChat:
    return ScriptedChat(Credentials(options={"answers": list(answers), **options}))


def asking(*messages: Message, model: str = "m") -> ChatRequest:
    return ChatRequest(model, messages)


USER = Message("user", "how is the tea")


async def test_answers() -> None:
    client = scripted({"match": "tea", "answer": "hot"})
    answer = await client.chat(asking(USER))
    assert (answer.text, answer.model, answer.finish_reason) == ("hot", "m", "stop")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 1)
    await client.aclose()


def test_is_a_chat_client() -> None:
    assert isinstance(scripted(), ChatClient)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ((Message("user", "one"), Message("assistant", "two")), "one"),
        ((Message("user", "one"), Message("assistant", "a"), Message("user", "three")), "three"),
        ((Message("system", "one"),), ""),
        ((), ""),
        ((Message("user", [{"type": "text", "text": "part"}, {"type": "image_url", "image_url": {}}]),), "part"),
    ],
)
async def test_rules_see_the_last_user_text(messages: tuple[Message, ...], expected: str) -> None:
    client = scripted({"match": f"^{expected}$", "answer": "yes"}, {"answer": "no"})
    assert (await client.chat(asking(*messages))).text == "yes"


@pytest.mark.parametrize(
    "name",
    [
        "RateLimitError",
        "TimeoutError",
        "ConnectionError",
        "ServiceUnavailable",
        "InvalidOutput",
        "AuthenticationError",
        "InvalidRequest",
        "ContextLengthError",
        "ContentFilterError",
        "ModelNotFound",
    ],
)
async def test_errors(name: str) -> None:
    client = scripted({"error": {"type": name, "message": "so it is", "retry_after": 0.5}, "times": 1})
    with pytest.raises(errors.StepError, match="so it is") as caught:
        await client.chat(asking(USER))
    assert type(caught.value) is getattr(errors, name)
    assert caught.value.retry_after == 0.5
    assert (await client.chat(asking(USER))).text.endswith("how is the tea")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 429, "retry_after": 0.5}, errors.RateLimitError),
        ({"status": 503, "retry_after": 0.5}, errors.ServiceUnavailable),
        ({"drop": "middle"}, errors.ConnectionError),
        ({"malformed": True}, errors.ConnectionError),
    ],
    ids=str,
)
async def test_faults_of_the_wire(fault: dict[str, Any], expected: type[errors.StepError]) -> None:
    client = scripted({"fault": fault, "times": 1}, {"fault": {"delay": 0.0}, "answer": "hot"})
    with pytest.raises(errors.StepError) as caught:
        await client.chat(asking(USER))
    assert type(caught.value) is expected
    assert caught.value.retry_after == fault.get("retry_after")
    assert (await client.chat(asking(USER))).text == "hot"


async def test_a_rule_fails_before_it_answers() -> None:
    client = scripted({"error": {"type": "ServiceUnavailable", "times": 2}, "answer": "hot"})
    for _ in range(2):
        with pytest.raises(errors.ServiceUnavailable):
            await client.chat(asking(USER))
    assert (await client.chat(asking(USER))).text == "hot"


async def test_a_delay_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    client = scripted({"delay": 2, "fault": {"delay": 1}, "answer": "hot"})
    assert (await client.chat(asking(USER))).text == "hot"
    assert waited == [3]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [({"type": "object", "properties": {"kind": {"enum": ["tea", "coffee"]}}}, '{"kind": "tea"}'), (False, None)],
)
async def test_a_request_for_json(schema: Any, expected: str | None) -> None:
    extra = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    request = ChatRequest("m", (USER,), extra=extra)
    if expected is None:
        with pytest.raises(errors.InvalidRequest, match="schema"):
            await scripted().chat(request)
    else:
        assert (await scripted().chat(request)).text == expected


async def test_script_file_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("- {answer: from one}\n")
    two.write_text("- {answer: from two}\n")
    monkeypatch.setenv("LLM_SCRIPT", str(two))
    cases = [
        (scripted(), "from two"),
        (scripted(script=str(one)), "from one"),
        (scripted({"answer": "inline"}, script=str(one)), "inline"),
        (ScriptedChat(Credentials()), "from two"),
    ]
    assert [(await client.chat(asking(USER))).text for client, _ in cases] == [text for _, text in cases]


def test_rules_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"the scripted provider's answers: rule 0\.answr"):
        scripted({"answr": "x"})
    with pytest.raises(errors.ConfigurationError, match="cannot read the rules"):
        scripted(script=str(tmp_path / "none.yaml"))
