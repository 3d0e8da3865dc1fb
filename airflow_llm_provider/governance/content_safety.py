"""Finds content that should not reach a model, or leave it, by lists of English expressions.

A list is a first sieve: it finds what is written plainly, and misses other words, other languages and what is only meant. A
discussion of a dangerous thing can look like a wish for it; ``require_approval`` leaves that to a person.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from airflow_llm_provider.evaluation.texts import fold
from airflow_llm_provider.evaluation.toxicity import find_toxic

__all__ = ["find_unsafe"]

_HOW = (
    r"\b(?:how (?:to|do i|can i|would i|do you|can you)|instructions? (?:for|to)|steps? to|(?:recipe|tutorial|guide) (?:for|to)"
    r"|(?:help|teach|show|tell) me|write|create|give me)"
)

_EXPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "violence": (
        rf"{_HOW}\W+(?:\w+\W+){{0,3}}?(?:kill|murder|poison|torture|kidnap|stab) (?:\w+ ){{0,2}}?"
        r"(?:someone|somebody|people|a person|him|her|them|my \w+|his \w+|children|a child)",
        r"(?:plan|commit|carry out) (?:an? )?(?:mass shooting|school shooting|terrorist attack|massacre|murder)",
    ),
    "weapons": (
        rf"{_HOW}\W+(?:\w+\W+){{0,4}}?(?:pipe bombs?|bombs?|explosives?|nerve (?:agents?|gas)|sarin|ricin|napalm"
        r"|molotov cocktails?|ghost guns?|chemical weapons?|biological weapons?|ieds?)\b",
    ),
    "self-harm": (
        rf"{_HOW}\W+(?:\w+\W+){{0,2}}?(?:kill myself|commit suicide|end my life|hurt myself|cut myself)",
        r"\bi (?:want|am going|m going|plan|intend) to (?:kill myself|die|end my life|commit suicide)",
    ),
    "malware": (
        rf"{_HOW}\W+(?:\w+\W+){{0,4}}?(?:ransomware|keyloggers?|malware|computer virus(?:es)?|trojans?|botnets?|rootkits?"
        r"|phishing (?:e-?mails?|pages?|sites?))\b",
        rf"{_HOW}\W+(?:\w+\W+){{0,2}}?(?:hack|break) into (?:\w+ ){{0,2}}?(?:account|computer|phone|email|network|wifi|bank)",
    ),
    "prompt-injection": (
        r"\b(?:ignore|disregard|forget|override) (?:\w+ ){0,2}?(?:previous|prior|above|earlier|preceding|your)"
        r" (?:\w+ )?(?:instructions?|prompts?|rules|directions|guidelines)",
        r"\b(?:reveal|print|show|repeat|output|leak) (?:me )?(?:your|the) (?:full |entire |hidden |secret )?system prompt",
        r"\byou are now (?:dan|in developer mode|jailbroken|unrestricted)\b",
        r"\b(?:act|respond|answer) (?:as if you have|with) no (?:restrictions|rules|filters|limits)",
    ),
}

_TOXIC: Mapping[str, frozenset[str]] = {
    "hate": frozenset({"hate"}),
    "harassment": frozenset({"insult"}),
    "violence": frozenset({"threat"}),
    "self-harm": frozenset({"self-harm"}),
}
"""Category to the kinds of :mod:`airflow_llm_provider.evaluation.toxicity` that belong to it."""

_PATTERNS = {category: [re.compile(form) for form in forms] for category, forms in _EXPRESSIONS.items()}
_SPACE = re.compile(r"\s+")


def find_unsafe(text: str, categories: Collection[str], blocked_terms: Collection[str] = ()) -> list[str]:
    """Say what is unsafe about a text.

    Args:
        text: The text.
        categories: What to look for.
        blocked_terms: Texts that are refused besides, whatever their case.

    Returns:
        The categories found, in the order asked for, and ``blocked-term`` behind them.
    """
    plain = _SPACE.sub(" ", fold(text).replace("'", "").replace("’", ""))
    toxic = {term.kind for term in find_toxic(text)}
    found = [
        category
        for category in dict.fromkeys(categories)
        if toxic & _TOXIC.get(category, frozenset()) or any(form.search(plain) for form in _PATTERNS.get(category, ()))
    ]
    folded = fold(text)
    return [*found, "blocked-term"] if any(fold(term) in folded for term in blocked_terms) else found
