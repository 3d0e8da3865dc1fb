"""Rules that answer in a model's place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_llm_provider.clients.base import Message
from airflow_llm_provider.clients.rules import (
    Rule,
    RuleBook,
    content_text,
    count_tokens,
    load_rules,
    read_rules,
    text_of,
)
from airflow_llm_provider.errors import ConfigurationError


@pytest.mark.parametrize(
    ("rule", "model", "text", "expected"),
    [
        ({}, "m", "anything", True),
        ({"match": "tea"}, "m", "a cup of TEA", True),
        ({"match": "^tea"}, "m", "a cup of tea", False),
        ({"match": "one.*two"}, "m", "one\ntwo", True),
        ({"model": "gpt-4*"}, "gpt-4o", "x", True),
        ({"model": "gpt-4*"}, "GPT-4o", "x", False),
        ({"model": "gpt-?"}, "gpt-4o", "x", False),
        ({"model": "gpt-*", "match": "b"}, "gpt-4o", "a", False),
    ],
)
def test_fits(rule: dict[str, Any], model: str, text: str, expected: bool) -> None:
    assert Rule(**rule).fits(model, text) is expected


def test_the_first_rule_that_is_not_used_up_answers() -> None:
    book = RuleBook(
        [Rule(match="a", answer="1", times=2), Rule(match="a", answer="2", times=1), Rule(model="n", answer="3")]
    )
    asked = [book.take(model, "a").answer for model in ("m", "n", "m", "n", "m")]
    assert asked == ["1", "1", "2", "3", None]
    assert book.take("m", "b") == Rule()


def test_a_rule_fails_before_it_answers() -> None:
    book = RuleBook(read_rules([{"error": {"type": "RateLimitError", "times": 2}, "answer": "ok", "times": 3}], "x"))
    taken = [book.take("m", "t") for _ in range(4)]
    assert [rule.error is not None for rule in taken] == [True, True, False, False]
    assert [rule.answer for rule in taken] == ["ok", "ok", "ok", None]
    always = RuleBook(read_rules([{"error": {"type": "RateLimitError"}, "answer": "ok"}], "x"))
    assert all(always.take("m", "t").error for _ in range(3))


def test_threads_share_a_book() -> None:
    book = RuleBook([Rule(answer="x", times=50)])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: book.take("m", "t").answer, range(200)))
    assert answers.count("x") == 50


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("text", "text"),
        ("", ""),
        ({"a": ["ü", 1, None]}, '{"a": ["ü", 1, null]}'),
        ([1, 2], "[1, 2]"),
    ],
)
def test_text_of(answer: Any, expected: str) -> None:
    assert text_of(Rule(answer=answer), "m", "question") == expected


def test_an_answer_without_a_rule_depends_on_model_and_question_only() -> None:
    assert text_of(Rule(), "m", "a  b\n c") == text_of(Rule(), "m", "a  b\n c")
    assert text_of(Rule(), "m", "a  b\n c").endswith("] a b c")
    assert len({text_of(Rule(), model, text) for model in "mn" for text in "ab"}) == 4


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
ASKS_FOR_JSON = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [({}, '{"age": 1}'), ({"answer": "as told"}, "as told"), ({"answer": {"age": 7}}, '{"age": 7}')],
)
def test_an_answer_to_a_request_for_json(rule: dict[str, Any], expected: str) -> None:
    assert text_of(Rule(**rule), "m", "question", ASKS_FOR_JSON) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "valid list"),
        ("x", "valid list"),
        ([1], "rule 0: "),
        ([{}, {"answr": "x"}], "rule 1.answr: Extra inputs are not permitted"),
        ([{"match": "("}], r"rule 0.match: Value error, '\(' is no regular expression"),
        ([{"times": 0}], "rule 0.times: "),
        ([{"delay": -1}], "rule 0.delay: "),
        ([{"error": {"type": "Oops"}}], "rule 0.error.type: "),
        ([{"error": {"type": "RateLimitError", "retry_after": -1}}], "rule 0.error.retry_after: "),
        ([{"error": {"type": "RateLimitError", "times": 0}}], "rule 0.error.times: "),
        ([{"fault": {"status": 200}}], "rule 0.fault.status: "),
        ([{"fault": {"times": 2}}], "rule 0.fault.times: Extra inputs are not permitted"),
        (
            [{"fault": {"status": 500}, "error": {"type": "RateLimitError"}}],
            "rule 0: .*only one of 'error' and 'fault'",
        ),
        ([{"answer": {"day": object()}}], "rule 0.answer"),
    ],
)
def test_what_is_no_rule(data: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^here: .*{message}"):
        read_rules(data, "here")


def test_every_trouble_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"rule 0\.times: .*; rule 1\.delay: "):
        read_rules([{"times": 0}, {"delay": -1}], "here")


def test_no_rules() -> None:
    assert read_rules(None, "here") == []


def test_load(tmp_path: Path) -> None:
    yaml = tmp_path / "rules.yaml"
    yaml.write_text(
        "- {match: ü, answer: {a: 1}}\n- error: {type: RateLimitError, retry_after: 0.5}\n", encoding="utf-8"
    )
    json = tmp_path / "rules.json"
    json.write_text('[{"match": "ü", "answer": {"a": 1}}, {"error": {"type": "RateLimitError", "retry_after": 0.5}}]')
    assert load_rules(yaml) == load_rules(str(json))
    assert load_rules(yaml)[0] == Rule(match="ü", answer={"a": 1})
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_rules(tmp_path / "empty.yaml") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\xff", "is not YAML"),
        (b"- answer: {day: 2026-11-03}", r"rule 0\.answer"),
        (b"a: 1", "valid list"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"rules.yaml.*{message}"):
        load_rules(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the rules .*none\.yaml: No such file"):
        load_rules(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", "text"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}], "a b"),
        ([1, {"text": 2}], ""),
    ],
)
def test_content_text(content: Any, expected: str) -> None:
    assert content_text(content) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", 1),
        ("abcd", 1),
        ("abcde", 2),
        ([], 0),
        ([Message("system", "abcd"), Message("user", "abcde")], 3),
        ([Message("user", [{"type": "text", "text": "abcd"}])], 1),
    ],
)
def test_count_tokens(given: Any, expected: int) -> None:
    assert count_tokens(given) == expected
