"""Cases that change each word, or letter, by itself."""

from __future__ import annotations

import math
from typing import Any

from interpbench.cases.rasp.define import elementwise, rasp_case

WORDS = ("J", "LB", "TPSI", "V", "b", "no", "oCLrZaW", "poiVg")
LONG_WORDS = tuple(
    """
    ADUdRPP CHChpo DaUUq GFfWd GprQ JaRUhR JkqHMBn LoaeT MOkI MbJmTPSI MeyyMDH MuFb SBvrj TecQo UDIh WUSmTtzQ
    WlGgOtOG WrXPvhsB Wvgfy YEZAm bVrp dzUv eWIXiiQ fJsONxK fLBcbfno fogyrD gQBw iVgRV jOkY kDyrO kxwnQr mjxWkIXH
    nIiUKKE nPFzPD oCLrZaW oRuXXdoc oecv pKff pmmI qVLBLzxo qipVJ vbLJ wwMq xZtp zrenKT
    """.split()
)
SPAM = ("free", "offer", "click", "now")


@rasp_case("10", vocab=[*WORDS, "radar", "rotor"], max_length=9, partial=True, causal=True)
def symmetric(rasp: Any) -> Any:
    """Each word whose first half is its second half backwards; undefined for others."""

    def same(word: str, half: int) -> bool:
        return word[:half] == word[len(word) - half :][::-1]

    half = rasp.Map(lambda word: len(word) // 2, rasp.tokens)
    return rasp.SequenceMap(
        lambda word, good: word if good else None, rasp.tokens, rasp.SequenceMap(same, rasp.tokens, half)
    )


@rasp_case("11", vocab=WORDS, max_length=9, causal=True)
def word_length(rasp: Any) -> Any:
    """Length of each word (as the mean over the words of that length so far; the published text promises counts)."""
    letters = rasp.Map(len, rasp.tokens)
    return rasp.Aggregate(rasp.Select(letters, letters, rasp.Comparison.EQ), letters)


@rasp_case("20", vocab=[*WORDS, "click", "now", "offer", "spam"], max_length=9, causal=True)
def spam(rasp: Any) -> Any:
    """'spam' for the words free, offer, click and now, else 'not spam'."""
    keywords = rasp.Map(SPAM.count, rasp.tokens)
    return rasp.Map(lambda n: "spam" if n > 0 else "not spam", keywords)


@elementwise("23", [*WORDS, "noon", "racecar"], partial=True, subject={"d_model": 17, "d_head": 4})
def palindromes(word: str) -> str | None:
    """Each word that reads the same backwards; undefined for others."""
    return word if word == word[::-1] else None


@rasp_case("26", vocab="abc", max_length=9, causal=True, subject={"d_model": 21, "d_head": 5})
def cascade(rasp: Any) -> Any:
    """Each letter as often as its position says, counted from 1."""
    return rasp.SequenceMap(lambda letter, i: letter * (i + 1), rasp.tokens, rasp.indices)


@elementwise("28", LONG_WORDS, subject={"d_model": 50, "d_head": 12})
def backwards(word: str) -> str:
    """Each word backwards."""
    return word[::-1]


@elementwise("29", WORDS, subject={"d_model": 13, "d_head": 3})
def abbreviation(word: str) -> str:
    """The first three letters of each word."""
    return word[:3]


@elementwise("30", [str(i) for i in range(30)])
def in_range(word: str) -> bool:
    """Whether the number that the word spells lies between 10 and 20."""
    return 10 <= int(word) <= 20


@elementwise("31", [*WORDS, "listen"])
def anagram(word: str) -> bool:
    """Whether the word has the letters of 'listen'."""
    return sorted(word) == sorted("listen")


@elementwise("33", WORDS)
def even_length(word: str) -> bool:
    """Whether the word has an even number of letters."""
    return len(word) % 2 == 0


@elementwise("34", WORDS, subject={"d_model": 16, "d_head": 4})
def vowel_ratio(word: str) -> float:
    """Vowels divided by other letters; infinity where there are no others."""
    vowels = sum(letter in "aeiou" for letter in word.lower())
    return vowels / (len(word) - vowels) if vowels < len(word) else math.inf


@elementwise("35", WORDS, subject={"d_model": 9, "d_head": 2})
def alternating_case(word: str) -> str:
    """Each word with its letters upper and lower case in turn."""
    return "".join(letter.lower() if i % 2 else letter.upper() for i, letter in enumerate(word))


@elementwise("36", "📘😊😢", subject={"d_model": 6, "d_head": 1})
def sentiment(emoji: str) -> str:
    """'positive', 'negative' or 'neutral', by the emoji."""
    return {"😊": "positive", "😢": "negative"}.get(emoji, "neutral")


@elementwise("37", WORDS, subject={"d_model": 12, "d_head": 3})
def backwards_but_one(word: str) -> str:
    """Each word backwards, but 'nochange' (which does not occur) as it is."""
    return word if word == "nochange" else word[::-1]


@elementwise("90", [*WORDS, "-", "findme"])
def replaced(word: str) -> str:
    """Each word, but '-' for 'findme'."""
    return "-" if word == "findme" else word
