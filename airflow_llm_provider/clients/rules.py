"""Rules that answer in a model's place: for the scripted provider and for the wire simulator.

A rule is a mapping, in YAML or JSON::

    - match: "sentiment of .*great"     # regular expression on the last user text; every text when left out
      model: "gpt-4*"                   # model name, with * and ?; every model when left out
      answer: positive                  # the text; an object is answered as JSON
      times: 1                          # how many answers the rule gives; without end when left out
    - match: flaky
      error: {type: RateLimitError, message: slow down, retry_after: 0.5}
      times: 2
    - match: stumbling
      error: {type: ServiceUnavailable, times: 1}   # only the rule's first calls fail, later ones are answered
      answer: here at last
    - match: dropped
      fault: {drop: middle}             # what goes wrong on the wire, see WireFault in airflow_llm_provider.clients.faults
    - delay: 0.2                        # seconds before the answer

The first rule that fits answers. Where none does, the answer is made from the question, the same each time; where the request
asks for JSON, it is JSON that meets the request's schema.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from typing_extensions import Self

from airflow_llm_provider.clients.base import Message
from airflow_llm_provider.clients.faults import WireFault
from airflow_llm_provider.clients.schemas import structured_answer
from airflow_llm_provider.errors import ConfigurationError

__all__ = [
    "ANSWER_TOKENS",
    "Pattern",
    "Rule",
    "RuleBook",
    "ScriptedError",
    "content_text",
    "count_tokens",
    "load_rules",
    "read_rules",
    "text_of",
]

ErrorName = Literal[
    "RateLimitError", "TimeoutError", "ConnectionError", "ServiceUnavailable", "InvalidOutput", "AuthenticationError",
    "InvalidRequest", "ContextLengthError", "ContentFilterError", "ModelNotFound",
]  # fmt: skip


def _is_regular(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(_is_regular)]
"""The text of a regular expression."""


class ScriptedError(BaseModel):
    """A failure instead of an answer.

    Attributes:
        type: The error's class in :mod:`airflow_llm_provider.errors`.
        message: Its text.
        retry_after: Seconds that the caller is asked to wait.
        times: How many of the rule's calls fail before it answers; None means all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: ErrorName
    message: str = "scripted"
    retry_after: float | None = Field(default=None, ge=0)
    times: int | None = Field(default=None, ge=1)


class Rule(BaseModel):
    """When to answer, and what.

    Attributes:
        match: Regular expression that the last user text must hold; ``.`` stands for line ends too, case does not matter.
        model: Pattern of the model's name.
        answer: The text, or an object to be answered as JSON; None means made from the question.
        error: A failure instead.
        fault: What goes wrong on the wire instead.
        times: How many calls the rule takes; None means all.
        delay: Seconds before the answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Pattern = ""
    model: str = "*"
    answer: str | dict[str, JsonValue] | list[JsonValue] | None = None
    error: ScriptedError | None = None
    fault: WireFault | None = None
    times: int | None = Field(default=None, ge=1)
    delay: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _fails_in_one_way(self) -> Self:
        if self.error is not None and self.fault is not None:
            raise ValueError("give only one of 'error' and 'fault'")
        return self

    def fits(self, model: str, text: str) -> bool:
        """Tell whether the rule is for a question.

        Args:
            model: The model asked.
            text: The last user text.
        """
        return fnmatch.fnmatchcase(model, self.model) and (
            not self.match or re.search(self.match, text, re.DOTALL | re.IGNORECASE) is not None
        )


_RULES = TypeAdapter(list[Rule])


def read_rules(data: Any, where: str) -> list[Rule]:
    """Read rules from plain data.

    Args:
        data: A list of mappings.
        where: Where the data is from, for messages.

    Raises:
        ConfigurationError: The data holds something else; the message names every trouble.
    """
    try:
        return _RULES.validate_python([] if data is None else data)
    except ValidationError as error:
        problems = "; ".join(f"rule {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigurationError(f"{where}: {problems}") from None


def load_rules(path: str | Path) -> list[Rule]:
    """Read rules from a YAML or JSON file.

    Args:
        path: The file.

    Raises:
        ConfigurationError: The file cannot be read, or holds something else.
    """
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the rules {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    return read_rules(data, str(path))


class RuleBook:
    """Rules that count how often they were used; may be shared by threads.

    Args:
        rules: The rules, in the order in which they are tried.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: Sequence[Rule] = tuple(rules)
        self._used = [0] * len(self._rules)
        self._lock = threading.Lock()

    def take(self, model: str, text: str) -> Rule:
        """Give the rule that answers a question, and count the use.

        Args:
            model: The model asked.
            text: The last user text.

        Returns:
            The first rule that fits and is not used up, without its error when that is; an empty one when there is none.
        """
        with self._lock:
            for index, rule in enumerate(self._rules):
                if (rule.times is None or self._used[index] < rule.times) and rule.fits(model, text):
                    self._used[index] += 1
                    fails = rule.error is not None and self._used[index] <= (rule.error.times or self._used[index])
                    return rule if fails or rule.error is None else rule.model_copy(update={"error": None})
        return Rule()


def text_of(rule: Rule, model: str, text: str, body: Mapping[str, Any] | None = None) -> str:
    """Give a rule's answer as text.

    Args:
        rule: The rule.
        model: The model asked.
        text: The last user text, from which the answer is made where the rule has none.
        body: The request's fields, which may ask for JSON.

    Raises:
        ValueError: The request asks for JSON of a schema that cannot be met.
    """
    if isinstance(rule.answer, str):
        return rule.answer
    if rule.answer is not None:
        return json.dumps(rule.answer, ensure_ascii=False)
    digest = hashlib.sha256(f"{model}\0{text}".encode(errors="backslashreplace")).hexdigest()[:8]
    opening = " ".join(text.split())[:80]
    made = f"[{model} {digest}] {opening}"
    structured = structured_answer(body or {}, made)
    return made if structured is None else structured


def content_text(content: Any) -> str:
    """Give a message's content as text.

    Args:
        content: A text, or a list of content parts, of which those that hold a text count.
    """
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    return " ".join(part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str))


ANSWER_TOKENS = 256
"""Tokens that an answer is taken for where nothing limits it."""


def count_tokens(messages: Iterable[Message] | str) -> int:
    """Estimate tokens as a quarter of the texts' characters, at least one a text; the same for the same text.

    Args:
        messages: A conversation or a text.
    """
    if isinstance(messages, str):
        return max(1, -(-len(messages) // 4))
    return sum(count_tokens(content_text(message.content)) for message in messages)
