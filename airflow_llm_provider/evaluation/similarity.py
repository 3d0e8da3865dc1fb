"""How alike two texts are, by the words and pieces of words that they share.

This is a lexical measure: no model, no weights, the same for the same texts everywhere. It sees other word order, other word
forms, and spelling mistakes; it does not know that ``car`` and ``automobile`` are the same, or that one ``not`` turns a sentence
round. Where that matters, ``llm_judge`` is the metric.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping

from airflow_llm_provider.evaluation.texts import is_stop_word, stem, words

__all__ = ["similarity"]

_STOP_WORD_WEIGHT = 0.2
_PAIR_WEIGHT = 0.3
_PIECES = (3, 4, 5)


def similarity(a: str, b: str) -> float:
    """Compare two texts.

    Args:
        a: One text.
        b: The other.

    Returns:
        The mean of two cosines, of word vectors and of vectors of pieces of words; 1 for equal words, 0 for nothing in common.
    """
    first, second = words(a), words(b)
    if not first or not second:
        return float(first == second)
    return (_cosine(_by_words(first), _by_words(second)) + _cosine(_by_pieces(first), _by_pieces(second))) / 2


def _by_words(tokens: list[str]) -> Mapping[str, float]:
    stems = [stem(token) for token in tokens]
    vector: dict[str, float] = {}
    for word, count in Counter(tokens).items():
        vector[stem(word)] = vector.get(stem(word), 0.0) + _weight(word, count)
    pairs = Counter(f"{left} {right}" for left, right in itertools.pairwise(stems))
    return {**vector, **{pair: _PAIR_WEIGHT * (1 + math.log(count)) for pair, count in pairs.items()}}


def _by_pieces(tokens: list[str]) -> Mapping[str, float]:
    vector: dict[str, float] = {}
    for word, count in Counter(tokens).items():
        # The edges of a word are part of its pieces: `^ca`, `at$`.
        marked = f"^{word}$"
        for size in _PIECES:
            for start in range(max(len(marked) - size + 1, 1)):
                piece = marked[start : start + size]
                vector[piece] = vector.get(piece, 0.0) + _weight(word, count)
    return vector


def _weight(word: str, count: int) -> float:
    return (1 + math.log(count)) * (_STOP_WORD_WEIGHT if is_stop_word(word) else 1.0)


def _cosine(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    product = sum(weight * b[key] for key, weight in a.items() if key in b)
    return product / math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
