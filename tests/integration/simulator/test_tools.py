"""Tools: what the providers are told of them, and what is read of the calls that a model asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_llm_provider.clients import chat_client
from airflow_llm_provider.clients.base import ChatRequest, Credentials, Message, Tool, ToolCall
from airflow_llm_provider.engine.run import run_workflow
from airflow_llm_provider.engine.runtime import Runtime
from airflow_llm_provider.errors import InvalidOutput, InvalidRequest
from airflow_llm_provider.simulator import SimulatorServer
from airflow_llm_provider.simulator.faults import Fault
from dag_factory import read_text

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", "The weather in a city.", SCHEMA)
CALL = ToolCall("call_1", "get_weather", {"city": "Oslo"})
CONVERSATION = (
    Message("system", "Be brief."),
    Message("user", "And in Oslo?"),
    Message("assistant", "", (CALL,)),
    Message("tool", "rain", tool_call_id="call_1"),
)
FUNCTION = {"name": "get_weather", "description": "The weather in a city.", "parameters": SCHEMA}
OPENAI_CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}


@dataclass(frozen=True)
class Wire:
    """What a provider is told, and how it answers.

    Attributes:
        provider: The provider.
        tools: What the body says of tools, when the model has to ask for one by its name.
        turns: Its last two messages.
        answer: A body that asks for a tool.
    """

    provider: str
    tools: Mapping[str, Any]
    turns: list[Any]
    answer: Mapping[str, Any]


WIRES = [
    Wire(
        "openai",
        {
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        },
        [
            {"role": "assistant", "content": "", "tool_calls": [OPENAI_CALL]},
            {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
        ],
        {
            "id": "x",
            "model": "m",
            "choices": [{"message": {"content": None, "tool_calls": [OPENAI_CALL]}, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 5},
        },
    ),
    Wire(
        "cohere",
        {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "REQUIRED"},
        [
            {"role": "assistant", "content": "", "tool_calls": [OPENAI_CALL]},
            {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
        ],
        {"id": "x", "message": {"role": "assistant", "tool_calls": [OPENAI_CALL]}, "finish_reason": "TOOL_CALL"},
    ),
    Wire(
        "anthropic",
        {
            "tools": [{"name": "get_weather", "description": "The weather in a city.", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "get_weather"},
        },
        [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Oslo"}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}]},
        ],
        {
            "id": "x",
            "model": "m",
            "content": [{"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Oslo"}}],
            "stop_reason": "tool_use",
        },
    ),
    Wire(
        "bedrock",
        {
            "toolConfig": {
                "tools": [
                    {
                        "toolSpec": {
                            "name": "get_weather",
                            "description": "The weather in a city.",
                            "inputSchema": {"json": SCHEMA},
                        }
                    }
                ],
                "toolChoice": {"tool": {"name": "get_weather"}},
            }
        },
        [
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "Oslo"}}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "rain"}]}}]},
        ],
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [{"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "Oslo"}}}],
                }
            },
            "stopReason": "tool_use",
            "usage": {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14},
            "metrics": {"latencyMs": 1},
        },
    ),
]


def credentials(provider: str, server: SimulatorServer) -> Credentials:
    if provider == "bedrock":
        options = {"login": "id", "region_name": "eu-west-1", "endpoint_url": server.base_url}
        return Credentials(api_key="secret-access-key", options=options)
    return Credentials(server.openai_base_url if provider == "openai" else server.base_url, "sk-any")


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.provider)
async def test_on_the_wire(wire: Wire) -> None:
    with SimulatorServer() as server:
        client = chat_client(wire.provider, credentials(wire.provider, server))
        server.simulator.faults.add([Fault(status=200, body=dict(wire.answer))])
        request = ChatRequest("m", CONVERSATION, tools=(WEATHER,), tool_choice="get_weather", stream=True)
        answer = await client.chat(request)
        sent = server.simulator.requests[-1]["body"]
        await client.aclose()
    assert {name: sent.get(name) for name in wire.tools} == wire.tools
    assert sent["messages"][-2:] == wire.turns
    assert answer.tool_calls == (CALL,)
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("provider", "choice", "told"),
    [
        ("openai", "required", {"tool_choice": "required"}),
        ("anthropic", "required", {"tool_choice": {"type": "any"}}),
        ("anthropic", "none", {"tool_choice": {"type": "none"}}),
        ("cohere", "none", {"tool_choice": "NONE"}),
        ("cohere", "auto", {"tool_choice": None}),
        ("bedrock", "none", {"toolConfig": None}),
        ("bedrock", None, {"toolConfig": {"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": SCHEMA}}}]}}),
    ],
)
async def test_choices(provider: str, choice: str | None, told: Mapping[str, Any]) -> None:
    with SimulatorServer() as server:
        client = chat_client(provider, credentials(provider, server))
        question = (Message("user", "x"),)
        await client.chat(ChatRequest("m", question, tools=(Tool("a", None, SCHEMA),), tool_choice=choice))
        sent = server.simulator.requests[-1]["body"]
        await client.aclose()
    assert {name: sent.get(name) for name in told} == told


async def test_arguments_that_are_no_object() -> None:
    broken = {**OPENAI_CALL, "function": {"name": "get_weather", "arguments": "[1"}}
    body = {"choices": [{"message": {"tool_calls": [broken]}, "finish_reason": "tool_calls"}]}
    with SimulatorServer() as server:
        client = chat_client("openai", credentials("openai", server))
        server.simulator.faults.add([Fault(status=200, body=body)])
        with pytest.raises(InvalidOutput, match="the arguments for 'get_weather' are no JSON object"):
            await client.chat(ChatRequest("m", (Message("user", "x"),), tools=(WEATHER,)))
        await client.aclose()


async def test_who_takes_none() -> None:
    with SimulatorServer() as server:
        client = chat_client("llm-forge", Credentials(server.base_url))
        with pytest.raises(InvalidRequest, match="takes no 'tools'"):
            await client.chat(ChatRequest("m", (Message("user", "x"),), tools=(WEATHER,)))
        await client.aclose()


WORKFLOW = """
name: weather
steps:
  - id: ask
    provider: openai
    model: gpt-4o-mini
    prompt: "And in Oslo?"
    tools:
      - {type: function, function: {name: get_weather, parameters: {type: object}}}
    output_schema: {type: object}
    output: [value, model, tokens, metadata]
  - id: answer
    provider: openai
    model: gpt-4o-mini
    messages:
      - {role: user, content: "And in Oslo?"}
      - {role: assistant, tool_calls: "{{ steps.ask.metadata.tool_calls }}"}
      - {role: tool, tool_call_id: "${{ steps.ask.metadata.tool_calls[0].id }}", content: rain}
outputs: {calls: "{{ steps.ask.metadata.tool_calls }}", value: "{{ steps.ask.value }}", answer: "{{ steps.answer }}"}
"""


async def test_in_a_workflow() -> None:
    read = read_text("w.yaml", WORKFLOW)
    assert not read.errors, read.errors
    with SimulatorServer() as server:
        server.simulator.faults.add([Fault(status=200, body=dict(WIRES[0].answer))])
        async with Runtime(credentials=lambda name, _: credentials(name, server)) as runtime:
            result = await run_workflow(read.workflows[0], {}, runtime)
        assert result.state == "completed", result.error
        assert server.simulator.requests[-1]["body"]["messages"][1]["tool_calls"] == [OPENAI_CALL]
    assert result.outputs["calls"] == [{"id": "call_1", "name": "get_weather", "arguments": {"city": "Oslo"}}]
    assert result.outputs["value"] is None


def test_a_choice_without_tools() -> None:
    text = "name: x\nsteps:\n  - {id: a, provider: openai, model: m, prompt: x, tool_choice: auto}\n"
    [error] = read_text("w.yaml", text).errors
    assert "'tool_choice' needs 'tools'" in str(error)
