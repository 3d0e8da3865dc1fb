"""Calls to a chat model: how many a second, and the CPU of one, as ratios to raw httpx and raw aiohttp in the same run.

The server is a process of its own that answers each call with the same bytes, after a latency that can be chosen, so that nearly
all of the CPU is the caller's. The contenders take turns, each in a process of its own; the median of several rounds counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "An answer of some words. " * 8, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60},
    }
).encode()
REPLY = (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)) + ANSWER
PROMPT = "Say something about the number 17. " * 4
MODEL = "gpt-4o-mini"

Call = Callable[[], Awaitable[object]]


class Server(asyncio.Protocol):
    """Answers every request on a connection, after the latency; reads no more than where one ends."""

    latency = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) < length:
            return
        self._data = body[length:]
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self._transport.write, REPLY)  # type: ignore[attr-defined]
        else:
            self._transport.write(REPLY)  # type: ignore[attr-defined]


async def serve(latency: float) -> None:
    """Serve until the parent goes away; tells the port."""
    Server.latency = latency
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=2000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def raw_httpx(url: str, flying: int, stack: AsyncExitStack) -> Call:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1000)
    client = await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=60))
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}

    async def call() -> object:
        answer = await client.post(f"{url}/chat/completions", json=body, headers={"authorization": "Bearer k"})
        return answer.json()["choices"][0]["message"]["content"]

    return call


async def raw_aiohttp(url: str, flying: int, stack: AsyncExitStack) -> Call:
    import aiohttp

    session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}

    async def call() -> object:
        url_of_chat, headers = f"{url}/chat/completions", {"authorization": "Bearer k"}
        async with session.post(url_of_chat, json=body, headers=headers) as answer:
            return (await answer.json())["choices"][0]["message"]["content"]

    return call


async def ours(url: str, flying: int, stack: AsyncExitStack) -> Call:
    from airflow_llm_provider.clients.base import ChatRequest, Credentials, Message
    from airflow_llm_provider.clients.openai import OpenAIChat

    client = OpenAIChat(Credentials(url, "k"))
    stack.push_async_callback(client.aclose)

    async def call() -> object:
        return (await client.chat(ChatRequest(MODEL, (Message("user", PROMPT),)))).text

    return call


async def openai_sdk(url: str, flying: int, stack: AsyncExitStack) -> Call:
    import openai

    client = await stack.enter_async_context(openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0))

    async def call() -> object:
        answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
        return answer.choices[0].message.content

    return call


async def pydantic_ai(url: str, flying: int, stack: AsyncExitStack) -> Call:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    agent = Agent(OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="k")))

    async def call() -> object:
        return (await agent.run(PROMPT)).output

    return call


CONTENDERS = {
    "raw httpx": raw_httpx,
    "raw aiohttp": raw_aiohttp,
    "this package": ours,
    "openai SDK": openai_sdk,
    "pydantic-ai": pydantic_ai,
}


async def measure(name: str, url: str, flying: int, calls: int) -> tuple[float, float]:
    """Give calls a second, and seconds of CPU a call."""
    async with AsyncExitStack() as stack:
        call = await CONTENDERS[name](url, flying, stack)
        await asyncio.gather(*(call() for _ in range(min(flying, calls))))
        left = iter(range(calls))

        async def work() -> None:
            for _ in left:
                await call()

        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(flying)))
        return calls / (time.perf_counter() - started), (time.process_time() - cpu) / calls


async def fan_out(url: str, prompts: int, flying: int) -> float:
    """Give the seconds that a fan-out takes, through the whole engine, after a small one to warm up."""
    from airflow_llm_provider.clients.base import Credentials
    from airflow_llm_provider.engine.run import run_workflow
    from airflow_llm_provider.engine.runtime import Runtime
    from dag_factory import read_text

    text = f"""
name: fan
inputs: {{numbers: []}}
steps:
  - id: each
    type: orchestrator:fan-out
    items: ${{{{ inputs.numbers }}}}
    max_concurrency: {flying}
    task_template: {{provider: openai, model: {MODEL}, prompt: "Say something about {{{{ item }}}}"}}
outputs: {{count: "${{{{ length(steps.each) }}}}"}}
"""
    [workflow] = read_text("w.yaml", text).workflows
    async with Runtime(credentials=lambda *_: Credentials(url, "k")) as runtime:
        await run_workflow(workflow, {"numbers": list(range(flying // 2))}, runtime)
        started = time.perf_counter()
        result = await run_workflow(workflow, {"numbers": list(range(prompts))}, runtime)
        taken = time.perf_counter() - started
    assert result.outputs == {"count": prompts}, result.error
    return taken


class Served:
    """A server in a process of its own."""

    def __init__(self, latency: float) -> None:
        command = [sys.executable, __file__, "--serve", str(latency)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        return f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def in_a_process(*arguments: str) -> list[float]:
    """Run this script's own measuring in a new process."""
    environment = {**os.environ, "AIRFLOW_HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return list(map(float, done.stdout.split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=float)
    parser.add_argument("--measure", nargs=4)
    parser.add_argument("--fan-out", nargs=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
        return
    if arguments.measure:
        name, url, flying, calls = arguments.measure
        print(*asyncio.run(measure(name, url, int(flying), int(calls))))
        return
    if arguments.fan_out:
        url, prompts, flying = arguments.fan_out
        print(asyncio.run(fan_out(url, int(prompts), int(flying))))
        return
    names = arguments.contenders.split(",")
    for latency, flying, calls in ((0.0, 1, 400), (0.0, 50, 1500), (0.0, 200, 2000), (0.1, 200, 3000)):
        with Served(latency) as url:
            found: dict[str, list[list[float]]] = {name: [] for name in names}
            for _ in range(arguments.rounds):
                for name in names:
                    found[name].append(in_a_process("--measure", name, url, str(flying), str(calls)))
            print(f"{flying} in flight, {latency * 1000:.0f} ms latency")
            medians = {
                name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()
            }
            for name, (rate, cpu) in medians.items():
                of_aiohttp = rate / medians["raw aiohttp"][0]
                of_httpx = cpu / medians["raw httpx"][1]
                print(
                    f"  {name:14} {rate:7.0f} calls/s  {of_aiohttp:5.2f} x raw aiohttp"
                    f"  {cpu * 1000:6.2f} ms CPU a call  {of_httpx:5.2f} x raw httpx"
                )
    with Served(0.2) as url:
        taken = [in_a_process("--fan-out", url, "2000", "200")[0] for _ in range(arguments.rounds)]
        best = statistics.median(taken)
        print(f"fan-out of 2,000 with 200 ms latency and 200 in flight: {best:.2f} s, {best / 2:.2f} x the ideal 2 s")


if __name__ == "__main__":
    main()
