"""The policies, and how their decisions become one."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_llm_provider.errors import InvalidRequest
from airflow_llm_provider.governance.content_safety import find_unsafe
from airflow_llm_provider.governance.personal_data import find_personal_data, replace_personal_data
from airflow_llm_provider.governance.values import Decision, PolicyName, PolicySettings, Verdict, Violation
from airflow_llm_provider.workflow.values import describe

__all__ = ["evaluate"]

_STRICTNESS: tuple[Decision, ...] = ("allow", "modify", "require_approval", "deny")


@dataclass(slots=True)
class _Opinion:
    """What one policy says of the context."""

    decision: Decision = "allow"
    violations: list[Violation] = field(default_factory=list)
    content: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


def evaluate(policies: Iterable[PolicyName], context: Mapping[str, Any], settings: PolicySettings) -> Verdict:
    """Ask policies.

    Args:
        policies: Their names; each is asked once.
        context: What is judged. All texts in it are content; ``model`` and ``cost_usd``, the cost known or expected, are facts.
        settings: How they work.

    Returns:
        The strictest decision with its reason, and the violations of all.

    Raises:
        InvalidRequest: A policy lacks what it needs, or a pattern of the settings takes too long.
    """
    content = context
    opinions: list[tuple[PolicyName, _Opinion]] = []
    for name in dict.fromkeys(policies):
        opinion = _POLICIES[name](context, settings)
        opinions.append((name, opinion))
        content = content if opinion.content is None else opinion.content
    violations = tuple(violation for _, opinion in opinions for violation in opinion.violations)
    notes = tuple(note for _, opinion in opinions for note in opinion.notes)
    decision: Decision = max((opinion.decision for _, opinion in opinions), key=_STRICTNESS.index, default="allow")
    if decision == "allow":
        return Verdict("allow", violations=violations, content=content, notes=notes)
    name, deciding = next((name, opinion) for name, opinion in opinions if opinion.decision == decision)
    reason = "; ".join(violation.message for violation in deciding.violations)
    return Verdict(decision, reason, name, violations, None if decision == "deny" else content, notes)


def _content_safety(context: Mapping[str, Any], settings: PolicySettings) -> _Opinion:
    rule = settings.content_safety
    violations = [
        Violation("content-safety", kind, path, f"{path} has content of the kind {kind!r}")
        for path, text in _texts(context)
        for kind in find_unsafe(text, rule.categories, rule.blocked_terms)
    ]
    return _Opinion(rule.action if violations else "allow", violations)


def _data_privacy(context: Mapping[str, Any], settings: PolicySettings) -> _Opinion:
    rule = settings.data_privacy
    violations: list[Violation] = []

    def clean(path: str, text: str) -> str:
        found = find_personal_data(text, rule.kinds, rule.patterns)
        for kind, count in Counter(piece.kind for piece in found).items():
            violations.append(Violation("data-privacy", kind, path, f"{path} has {count} of the kind {kind!r}"))
        return replace_personal_data(text, found, mask=rule.mode == "mask")

    content = {key: _with_texts(value, key, clean) for key, value in context.items()}
    if not violations:
        return _Opinion()
    if rule.mode == "deny":
        return _Opinion("deny", violations)
    return _Opinion("modify", violations, content)


def _cost_limit(context: Mapping[str, Any], settings: PolicySettings) -> _Opinion:
    rule = settings.cost_limit
    cost = context.get("cost_usd")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, (int, float))):
        raise InvalidRequest(f"policy 'cost-limit' needs a number of USD in context.cost_usd, not {describe(cost)}")
    if rule.max_cost_usd is None:
        return _Opinion(notes=["cost-limit: not checked, there is no limit; give settings.cost-limit.max_cost_usd"])
    if cost is None:
        return _Opinion(notes=["cost-limit: not checked, the cost is not known; give context.cost_usd"])
    if cost <= rule.max_cost_usd:
        return _Opinion()
    message = f"a cost of {cost:g} USD is above the limit of {rule.max_cost_usd:g} USD"
    return _Opinion(rule.action, [Violation("cost-limit", "cost", "cost_usd", message)])


def _allowed_models(context: Mapping[str, Any], settings: PolicySettings) -> _Opinion:
    rule, model = settings.allowed_models, context.get("model")
    if rule is None:
        raise InvalidRequest("policy 'allowed-models' needs the models; give settings.allowed-models.models")
    if not isinstance(model, str) or not model:
        raise InvalidRequest(f"policy 'allowed-models' needs the model's name in context.model, not {describe(model)}")
    if any(fnmatch.fnmatchcase(model, allowed) for allowed in rule.models):
        return _Opinion()
    message = f"the model {model!r} is none of {', '.join(rule.models)}"
    return _Opinion(rule.action, [Violation("allowed-models", "model", "model", message)])


_POLICIES: Mapping[PolicyName, Callable[[Mapping[str, Any], PolicySettings], _Opinion]] = {
    "content-safety": _content_safety,
    "data-privacy": _data_privacy,
    "cost-limit": _cost_limit,
    "allowed-models": _allowed_models,
}


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _texts(member, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def _with_texts(value: Any, path: str, change: Callable[[str, str], str]) -> Any:
    if isinstance(value, str):
        return change(path, value)
    if isinstance(value, Mapping):
        return {key: _with_texts(member, f"{path}.{key}", change) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_texts(item, f"{path}[{index}]", change) for index, item in enumerate(value)]
    return value
