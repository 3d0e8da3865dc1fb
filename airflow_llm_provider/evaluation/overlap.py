"""Metrics that compare an answer with the right one word by word."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from airflow_llm_provider.evaluation.texts import answer_words, words
from airflow_llm_provider.evaluation.values import Finding

__all__ = ["accuracy", "bleu", "exact_match", "f1_score", "precision", "recall", "rouge"]

_BLEU_ORDER = 4


def exact_match(response: str, ground_truth: str) -> Finding:
    """1 when both are the same words, case, punctuation and articles aside (SQuAD's exact match)."""
    same = answer_words(response) == answer_words(ground_truth)
    return Finding(float(same), "the same words" if same else "not the same words")


def accuracy(response: str, ground_truth: str) -> Finding:
    """1 when the right answer's words stand in the answer in one piece, or both are the same number.

    That is right for short answers and labels inside of sentences; it does not see that a sentence denies what it holds.
    """
    given, wanted = answer_words(response), answer_words(ground_truth)
    first, second = _number(response), _number(ground_truth)
    if first is not None and second is not None:
        found = math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)
    elif not wanted:
        found = not given
    else:
        found = f" {' '.join(wanted)} " in f" {' '.join(given)} "
    return Finding(float(found), f"the right answer is {'' if found else 'not '}in the response")


def precision(response: str, ground_truth: str) -> Finding:
    """Share of the answer's words that the right answer has too."""
    common, given, wanted = _common(response, ground_truth)
    return Finding(_share(common, given, wanted), f"{common} of {given} words of the response are in the ground truth")


def recall(response: str, ground_truth: str) -> Finding:
    """Share of the right answer's words that the answer has too."""
    common, given, wanted = _common(response, ground_truth)
    return Finding(_share(common, wanted, given), f"{common} of {wanted} words of the ground truth are in the response")


def f1_score(response: str, ground_truth: str) -> Finding:
    """Harmonic mean of :func:`precision` and :func:`recall` (SQuAD's F1)."""
    common, given, wanted = _common(response, ground_truth)
    score = _harmonic(_share(common, given, wanted), _share(common, wanted, given))
    return Finding(score, f"{common} words in common, of {given} in the response and {wanted} in the ground truth")


def bleu(response: str, ground_truth: str) -> Finding:
    """BLEU of one sentence: runs of one to four words in common, with a penalty for being shorter than the right answer.

    Runs of two and more are counted with one added (Lin and Och 2004, https://aclanthology.org/C04-1072/), because a short
    answer without a common run of four would be worth nothing else.
    """
    given, wanted = words(response), words(ground_truth)
    if not given or not wanted:
        return Finding(float(given == wanted), "one of the texts has no words")
    logarithms = []
    for order in range(1, min(_BLEU_ORDER, len(given), len(wanted)) + 1):
        runs, right = _runs(given, order), _runs(wanted, order)
        common, total, added = (runs & right).total(), runs.total(), int(order > 1)
        if common + added == 0:
            return Finding(0.0, "no word in common")
        logarithms.append(math.log((common + added) / (total + added)))
    brevity = min(1.0, math.exp(1 - len(wanted) / len(given)))
    score = brevity * math.exp(sum(logarithms) / len(logarithms))
    return Finding(score, f"runs of up to {len(logarithms)} words, brevity penalty {brevity:.2f}")


def rouge(response: str, ground_truth: str) -> Finding:
    """ROUGE-L: the longest common subsequence of words, as F1 (Lin 2004, https://aclanthology.org/W04-1013/)."""
    given, wanted = words(response), words(ground_truth)
    length = _longest_common_subsequence(given, wanted)
    score = _harmonic(_share(length, len(given), len(wanted)), _share(length, len(wanted), len(given)))
    return Finding(score, f"{length} words in the same order, of {len(given)} and {len(wanted)}")


def _common(response: str, ground_truth: str) -> tuple[int, int, int]:
    given, wanted = Counter(answer_words(response)), Counter(answer_words(ground_truth))
    return (given & wanted).total(), given.total(), wanted.total()


def _share(part: int, whole: int, other: int) -> float:
    # Nothing is all of nothing, and no part of something.
    return part / whole if whole else float(other == 0)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def _runs(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def _number(text: str) -> float | None:
    try:
        number = float(text.strip().replace(",", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Count bits instead of filling a table (Hyyrö 2004), so that texts of 10,000 words take milliseconds."""
    places: dict[str, int] = {}
    for index, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << index
    everything = (1 << len(a)) - 1
    row = everything
    for word in b:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & everything
    return len(a) - row.bit_count()
