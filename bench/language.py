"""Templates and expressions: how long one takes, as a ratio to Python's own formatting and to Jinja2 in the same process.

Each contender renders the same content from the same values, parsed beforehand; what is parsed for the first time is measured
apart. All take turns, and the least time of each counts, so that a busy machine slows them all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jinja2
import jinja2.sandbox

from airflow_llm_provider.workflow import expression_parser, expressions, handlebars
from airflow_llm_provider.workflow.conditions import parse_condition
from airflow_llm_provider.workflow.templates import parse_template
from airflow_llm_provider.workflow.values import get_item

ITEMS = [{"name": f"item {number}", "price": number, "sold": number % 3 == 0} for number in range(100)]
VALUES: dict[str, Any] = {
    "topic": "tides",
    "audience": "engineers",
    "score": 7,
    "kind": "news",
    "items": ITEMS,
    "steps": {"draft": {"text": "The moon pulls. " * 20}},
}

PROMPT = "Write two sentences about {} for {}. What came before: {}"
LOOP = "{{#each items}}{{@index}}. {{name}}: {{#if sold}}sold{{else}}{{price}}{{/if}}\n{{/each}}"
JINJA_LOOP = (
    "{% for item in items %}{{ loop.index0 }}. {{ item.name }}: "
    "{% if item.sold %}sold{% else %}{{ item.price }}{% endif %}\n{% endfor %}"
)
RULE = "score * 2 > 10 && (kind == 'news' || audience == 'all')"
JINJA_RULE = RULE.replace("&&", "and").replace("||", "or")


def resolve(path: tuple[str | int, ...]) -> object:
    """Follow a path in the values."""
    value: object = VALUES
    for part in path:
        value = get_item(value, part)
    return value


def python_prompt() -> str:
    """Fill the prompt in with `str.format`."""
    return PROMPT.format(VALUES["topic"], VALUES["audience"], VALUES["steps"]["draft"]["text"])


def python_loop() -> str:
    """Write the list with an f-string."""
    return "".join(
        f"{index}. {item['name']}: {'sold' if item['sold'] else item['price']}\n" for index, item in enumerate(ITEMS)
    )


def python_rule() -> bool:
    """Decide in Python."""
    return bool(VALUES["score"] * 2 > 10 and (VALUES["kind"] == "news" or VALUES["audience"] == "all"))


def once(work: Callable[[], object], count: int) -> float:
    """Give the seconds that one call takes, of `count`."""
    started = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - started) / count


def compare(name: str, contenders: dict[str, Callable[[], object]], count: int, rounds: int) -> None:
    """Measure the contenders in turn, the first of which is ours, and print the ratios.

    Args:
        name: What they all do.
        contenders: Contender to work.
        count: Calls a round.
        rounds: How often each has its turn; the least counts.
    """
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for contender, work in contenders.items():
            best[contender] = min(best[contender], once(work, count))
    (ours, least), *others = best.items()
    ratios = ", ".join(f"{least / theirs:.2f} x {other} ({theirs * 1e6:.2f} us)" for other, theirs in others)
    print(f"{name}: {ours} {least * 1e6:.2f} us = {1 / least:,.0f} a second; {ratios}")


def contenders() -> dict[str, dict[str, Callable[[], object]]]:
    """Give what is measured, after a check that all contenders for a thing give the same."""
    environment = jinja2.Environment(autoescape=False, keep_trailing_newline=True)
    sandbox = jinja2.sandbox.SandboxedEnvironment(autoescape=False, keep_trailing_newline=True)
    prompt = PROMPT.format("{{ topic }}", "{{ audience }}", "{{ steps.draft.text }}")
    expression = f"${{{{ {RULE} }}}}"
    jinja_rule = environment.compile_expression(JINJA_RULE)
    our_prompt, our_loop, our_rule = parse_template(prompt), parse_template(LOOP), parse_template(expression)
    our_condition = parse_condition(RULE)
    prompts = {"jinja2": environment.from_string(prompt), "jinja2's sandbox": sandbox.from_string(prompt)}
    loops = {"jinja2": environment.from_string(JINJA_LOOP), "jinja2's sandbox": sandbox.from_string(JINJA_LOOP)}
    found: dict[str, dict[str, Callable[[], object]]] = {
        "a prompt with three values": {
            "this package": lambda: our_prompt.render(resolve),
            "str.format": python_prompt,
            **{name: lambda it=it: it.render(VALUES) for name, it in prompts.items()},
        },
        "a loop over 100 items": {
            "this package": lambda: our_loop.render(resolve),
            "an f-string": python_loop,
            **{name: lambda it=it: it.render(VALUES) for name, it in loops.items()},
        },
        "an expression of four operators": {
            "this package": lambda: our_rule.render(resolve),
            "Python": python_rule,
            "jinja2": lambda: jinja_rule(VALUES),
        },
        "the same as a condition": {
            "this package": lambda: our_condition.evaluate(resolve),
            "Python": python_rule,
            "jinja2": lambda: jinja_rule(VALUES),
        },
        "parsing the prompt": {
            "this package": lambda: handlebars.parse.__wrapped__(prompt),
            "jinja2": lambda: environment.from_string(prompt),
        },
        "parsing the loop": {
            "this package": lambda: handlebars.parse.__wrapped__(LOOP),
            "jinja2": lambda: environment.from_string(JINJA_LOOP),
        },
        "parsing the expression": {
            "this package": lambda: expression_parser.parse(RULE),
            "Python's compile": lambda: compile(JINJA_RULE, "rule", "eval"),
            "jinja2": lambda: environment.compile_expression(JINJA_RULE),
        },
        "a plain path": {
            "this package": lambda: expressions.parse("steps.draft.text").evaluate(resolve),
            "the look-up alone": lambda: resolve(("steps", "draft", "text")),
        },
    }
    for name, works in found.items():
        if not name.startswith("parsing"):
            answers = [work() for work in works.values()]
            assert all(answer == answers[0] for answer in answers), (name, answers)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first impression")
    quick = parser.parse_args().quick
    for name, works in contenders().items():
        slow = "loop" in name or name.startswith("parsing")
        count = (100 if slow else 2_000) // (4 if quick else 1)
        compare(name, works, count, 5 if quick else 30)


if __name__ == "__main__":
    main()
