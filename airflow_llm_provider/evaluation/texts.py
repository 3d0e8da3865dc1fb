"""Takes texts apart: words, the words that carry meaning, sentences.

Words are what Unicode says; where a script writes none apart (Chinese, Japanese), each character counts as one. Stop words, word
ends and negations are English; texts in other languages are compared by their whole words.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = [
    "NEGATIONS",
    "answer_words",
    "content_words",
    "fold",
    "is_stop_word",
    "sentences",
    "stem",
    "word_set",
    "words",
]

_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n+")
_ARTICLES = frozenset({"a", "an", "the"})


def word_set(text: str) -> frozenset[str]:
    """Give the words of a written list."""
    return frozenset(text.split())


NEGATIONS = word_set(
    "no not never none nobody nothing neither nor without cannot cant wont dont doesnt didnt isnt arent wasnt werent "
    "hasnt havent hadnt shouldnt wouldnt couldnt"
)
"""Words that turn a statement into its opposite."""

_STOP_WORDS = NEGATIONS | word_set(
    "a about all also am an and any are as at be been being both but by can could did do does doing for from had has "
    "have having he her here hers him his how i if in into is it its itself just may me might more most much must my "
    "of on only or other our ours out over own please s same shall she should so some such t than that the their "
    "theirs them then there these they this those through to too under until up us very was we were what when where "
    "which while who whom whose why will with would you your yours"
)

_ENDINGS = ("ations", "ation", "ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "ly", "s")


def fold(text: str) -> str:
    """Make texts comparable: compatible characters and cases become one."""
    return unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> list[str]:
    """Give a text's words and numbers, without punctuation and case."""
    return _WORD.findall(_APOSTROPHE.sub("", fold(text)))


def answer_words(text: str) -> list[str]:
    """Give the words that answers are compared by, as SQuAD's evaluation does: no case, punctuation or articles.

    See https://rajpurkar.github.io/SQuAD-explorer/.
    """
    return [word for word in words(text) if word not in _ARTICLES]


def is_stop_word(word: str) -> bool:
    """Tell whether a folded word carries no meaning of its own."""
    return word in _STOP_WORDS


def stem(word: str) -> str:
    """Cut an English ending off, so that ``cats`` meets ``cat``; what is left has at least three characters."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not (ending == "s" and word.endswith("ss")):
            return word[: -len(ending)]
    return word


def content_words(text: str) -> list[str]:
    """Give the stems of the words that carry meaning."""
    return [stem(word) for word in words(text) if word not in _STOP_WORDS]


def sentences(text: str) -> list[str]:
    """Give a text's sentences; a line's end ends one too."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and words(part)]
