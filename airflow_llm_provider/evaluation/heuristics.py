"""Rules of thumb about an answer's content: does it stay with its source, hang together, speak of what was asked.

They count words, and know nothing of the world. A low score is a good reason to look; a high one is no proof.
"""

from __future__ import annotations

import itertools
from collections import Counter

from airflow_llm_provider.evaluation.similarity import similarity
from airflow_llm_provider.evaluation.texts import NEGATIONS, content_words, sentences, word_set, words
from airflow_llm_provider.evaluation.values import Finding

__all__ = ["coherence", "factual_consistency", "relevance"]

_SUPPORTED = 0.5
_CONNECTIVES = word_set(
    "accordingly additionally also although and another because besides both but consequently finally first firstly "
    "furthermore he hence however if in it its moreover nevertheless next overall second secondly she similarly since "
    "so such that their then therefore these they third this those though thus when while yet"
)
_ENDS = tuple(".!?:;…\"'”’)]}`*。！？")


def factual_consistency(response: str, source: str) -> Finding:
    """Mean support of the answer's sentences by a source.

    A sentence's support is the share of its meaningful words that the source has. It is halved when the sentence has a number
    that the source has not, and when it is negated where the source's closest sentence is not, or the other way round. Facts in
    other words than the source's count as unsupported.
    """
    claims = sentences(response)
    if not claims:
        return Finding(0.0, "the response says nothing")
    known = set(content_words(source))
    numbers = {word for word in words(source) if word[0].isdigit()}
    # Equal sentences count once, and only those with a word in common are looked at: texts may have thousands of sentences.
    told = list(dict.fromkeys((frozenset(content_words(part)), _is_negated(part)) for part in sentences(source)))
    places: dict[str, list[int]] = {}
    for index, (meaningful, _) in enumerate(told):
        for word in meaningful:
            places.setdefault(word, []).append(index)
    total = 0.0
    doubts = []
    for claim in claims:
        meant = content_words(claim)
        support = sum(word in known for word in meant) / len(meant) if meant else 1.0
        reasons = [f"{support:.0%} of its words"] if support < _SUPPORTED else []
        unknown = sorted({word for word in words(claim) if word[0].isdigit()} - numbers)
        if unknown:
            support /= 2
            reasons.append(f"not its numbers {', '.join(unknown[:5])}")
        common = Counter(index for word in set(meant) for index in places.get(word, ()))
        closest = max(common, key=lambda index: (common[index], -index), default=None)
        if closest is not None and common[closest] * 2 >= len(set(meant)) and told[closest][1] != _is_negated(claim):
            support /= 2
            reasons.append("the other way round")
        total += support
        if reasons:
            doubts.append(f"{_shortened(claim)!r} ({'; '.join(reasons)})")
    said = f"the source has only in part: {', '.join(doubts[:3])}" if doubts else "the source has what it says"
    return Finding(total / len(claims), f"{said}{f', and {len(doubts) - 3} more' if len(doubts) > 3 else ''}")


def coherence(response: str) -> Finding:
    """Rules of thumb about the text alone.

    Half is for not repeating itself, a third for sentences that take up each other, the rest for an end. Sentences take up each
    other when they share a meaningful word, or the second begins with a word that refers or connects (English). Whether the
    thoughts follow from each other is beyond it.
    """
    parts = sentences(response)
    tokens = words(response)
    if not parts:
        return Finding(0.0, "the response says nothing")
    runs = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    distinct = len(set(runs)) / len(runs) if runs else 1.0
    pairs = list(itertools.pairwise(parts))
    linked = sum(map(_is_linked, *zip(*pairs, strict=True))) / len(pairs) if pairs else 1.0
    ended = float(len(tokens) <= 8 or response.rstrip().endswith(_ENDS))
    return Finding(
        distinct / 2 + linked / 3 + ended / 6,
        f"{1 - distinct:.0%} repeated, {linked:.0%} of neighbouring sentences linked, "
        f"{'' if ended else 'no '}end of the last one",
    )


def relevance(response: str, asked: str) -> Finding:
    """How much of what was asked the answer speaks of: the share of its meaningful words, or the similarity, whichever is more.

    A right answer of one word shares nothing with its question, and scores 0; longer ones are judged better.
    """
    wanted = set(content_words(asked))
    met = wanted & set(content_words(response))
    share = len(met) / len(wanted) if wanted else 0.0
    alike = similarity(response, asked)
    return Finding(max(share, alike), f"{len(met)} of {len(wanted)} meaningful words taken up, similarity {alike:.2f}")


def _is_negated(sentence: str) -> bool:
    return sum(word in NEGATIONS for word in words(sentence)) % 2 == 1


def _is_linked(before: str, after: str) -> bool:
    opening = words(after)[0]
    return opening in _CONNECTIVES or opening[0].isdigit() or bool({*content_words(before)} & {*content_words(after)})


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= 60 else sentence[:59] + "…"
