"""Words of scales that people answer on, of the calendar and of ranges of numbers, in their order."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Sequence

from latentmap.data.text_dates import MONTHS

LIKERT: tuple[tuple[str, ...], ...] = (
    ("very low", "low", "medium low", "medium", "medium high", "high", "very high"),
    ("very low", "low", "moderate", "high", "very high"),
    ("very low", "low", "normal", "high", "very high"),
    ("low", "average", "high"),
    ("low", "middle", "high"),
    ("low", "mid", "high"),
    ("none", "very mild", "mild", "moderate", "severe", "very severe", "extreme"),
    ("never", "almost never", "very rarely", "rarely", "seldom", "occasionally", "sometimes", "often", "frequently",
     "usually", "very often", "almost always", "always"),
    ("strongly disagree", "disagree", "somewhat disagree", "neither agree nor disagree", "somewhat agree", "agree",
     "strongly agree"),
    ("strongly disagree", "disagree", "slightly disagree", "neutral", "slightly agree", "agree", "strongly agree"),
    ("strongly disagree", "disagree", "undecided", "agree", "strongly agree"),
    ("very dissatisfied", "dissatisfied", "somewhat dissatisfied", "neutral", "somewhat satisfied", "satisfied",
     "very satisfied"),
    ("very unlikely", "unlikely", "neutral", "likely", "very likely"),
    ("very unhappy", "unhappy", "neutral", "happy", "very happy"),
    ("not at all important", "slightly important", "moderately important", "important", "very important",
     "extremely important"),
    ("very unimportant", "unimportant", "neutral", "important", "very important"),
    ("not at all", "a little", "slightly", "somewhat", "moderately", "a lot", "very", "very much", "extremely"),
    ("terrible", "very bad", "bad", "poor", "fair", "ok", "okay", "average", "good", "very good", "great", "excellent",
     "outstanding"),
    ("very poor", "poor", "below average", "average", "above average", "good", "very good", "excellent"),
    ("fair", "good", "very good", "premium", "ideal"),
    ("much worse", "worse", "about the same", "same", "better", "much better"),
    ("tiny", "extra small", "very small", "small", "medium", "large", "very large", "extra large", "huge"),
    ("short", "medium", "tall"),
    ("short", "medium", "long"),
    ("slow", "medium", "fast"),
    ("cold", "cool", "mild", "warm", "hot"),
    ("light", "medium", "heavy"),
    ("easy", "medium", "hard"),
    ("easy", "moderate", "difficult"),
    ("beginner", "novice", "intermediate", "advanced", "expert"),
    ("junior", "mid", "senior"),
    ("child", "teenager", "adult", "senior"),
    ("first", "second", "third", "fourth", "fifth"),
    ("1st", "2nd", "3rd", "4th", "5th"),
    ("freshman", "sophomore", "junior", "senior"),
    ("calm", "light air", "light breeze", "gentle breeze", "moderate breeze", "fresh breeze", "strong breeze",
     "near gale", "moderate gale", "gale", "fresh gale", "strong gale", "severe gale", "whole gale", "storm",
     "violent storm", "hurricane"),
    ("calm", "light", "gentle", "moderate", "fresh", "strong", "stormy"),
    ("pre", "mid", "post"),
    ("bronze", "silver", "gold", "platinum"),
    ("no formal education", "primary", "secondary", "tertiary"),
    ("primary school", "middle school", "high school", "some college", "associate's degree", "bachelor's degree",
     "master's degree", "doctorate"),
    ("some high school", "high school", "some college", "associate's degree", "bachelor's degree", "master's degree"),
    ("high school", "bachelor", "bachelors", "master", "masters", "phd", "doctorate"),
)  # fmt: skip
"""Scales in words, from the least to the most."""
LETTERS: tuple[tuple[str, ...], ...] = (
    ("xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl"),
    ("2xs", "xs", "s", "m", "l", "xl", "2xl", "3xl"),
    ("i", "ii", "iii", "iv", "v", "vi"),
    ("f", "e", "d-", "d", "d+", "c-", "c", "c+", "b-", "b", "b+", "a-", "a", "a+"),
)
"""Sizes, Roman numerals and grades, of which three or more have to be there: fewer letters are rather labels."""
GRADES = LETTERS[-1]
CALENDARS: tuple[tuple[str, ...], ...] = (
    MONTHS,
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    ("januar", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november",
     "dezember"),
    ("montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag"),
    ("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
     "décembre"),
    ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    ("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre",
     "diciembre"),
    ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
)  # fmt: skip
RANGE = re.compile(
    r"(?P<below><=?|under |below |up to )?\s*(?P<low>\d+(?:\.\d+)?)(?:\s*(?:-|–|to)\s*(?P<high>\d+(?:\.\d+)?))?"
    r"(?P<plus>\s*\+| (?:and|or) (?:over|older|above|more))?(?: ?(?:years|yrs|y))?"
    r"|(?P<above>>=?|over |above )\s*(?P<rest>\d+)",
    re.IGNORECASE,
)
NUMBERED = re.compile(r"(?P<low>\d{1,2})(?:\.|\)|:)\s+\D.*")
GRADE = re.compile(r"(?P<low>\d{1,2})(?:st|nd|rd|th)(?: (?:grade|class|year|form))?", re.IGNORECASE)


def order_of(words: Collection[str], name: str = "") -> tuple[str, ...] | None:
    """Return words of one scale in its order, or None if no scale has all of them.

    Letters of grades alone could label anything: they are a scale where the column is called a grade, or where some
    have a plus or a minus.

    >>> order_of(["high", "low", "Medium"]), order_of(["A", "B", "C"]), order_of(["A", "B", "C"], "grade")
    (('low', 'Medium', 'high'), None, ('C', 'B', 'A'))
    >>> order_of(["30-39", "<30", "40+"]), order_of(["Wed", "Mon", "Sun"]), order_of(["10th", "9th"])
    (('<30', '30-39', '40+'), ('Mon', 'Wed', 'Sun'), ('9th', '10th'))
    """
    plain = {" ".join(word.replace("_", " ").replace("-", " ").lower().split()): word for word in words}
    letters = {word.strip().lower(): word for word in words}
    if len(plain) == len(words) > 1:
        for scale in LIKERT:
            if plain.keys() <= set(scale):
                return tuple(plain[word] for word in scale if word in plain)
    if (calendar := calendar_of(words)) is not None:
        return tuple(sorted(words, key=lambda word: calendar[0][word]))
    if len(words) > 1 and (ordered := _by_numbers(list(words))):
        return ordered
    if len(letters) == len(words) > 2:
        for scale in LETTERS:
            if letters.keys() <= set(scale) and (scale is not GRADES or _is_grade(letters, name)):
                return tuple(letters[word] for word in scale if word in letters)
    return None


def calendar_of(words: Collection[str]) -> tuple[dict[str, int], int] | None:
    """Return the places of three or more months or weekdays of one language, from 0, and how many there are of these.

    >>> calendar_of(["Sun", "Mon", "Wed"]), calendar_of(["Sun", "Mon", "oak"])
    (({'Sun': 6, 'Mon': 0, 'Wed': 2}, 7), None)
    """
    plain = {word: word.strip().strip(".").lower() for word in words}
    for names in CALENDARS if len(plain) > 2 else ():
        places = {own: [i for i, name in enumerate(names) if _names(word, name)] for own, word in plain.items()}
        if all(len(found) == 1 for found in places.values()) and len({*map(tuple, places.values())}) == len(plain):
            return {own: found[0] for own, found in places.items()}, len(names)
    return None


def is_round(words: Collection[str]) -> bool:
    """Return whether months or weekdays leave no more than half of the year or the week out.

    >>> is_round(["Mon", "Tue", "Wed", "Thu", "Fri"]), is_round(["June", "July", "August"])
    (True, False)
    """
    if (found := calendar_of(words)) is None:
        return False
    places, period = sorted(found[0].values()), found[1]
    gaps = [b - a for a, b in itertools.pairwise([*places, places[0] + period])]
    return 2 * max(gaps) <= period


def _names(word: str, name: str) -> bool:
    """Return whether a word is the name of a month or weekday, or its first three or four letters."""
    return word == name or (2 < len(word) < 5 and name.startswith(word))


def _by_numbers(words: Sequence[str]) -> tuple[str, ...] | None:
    """Return ranges such as 20-29 and 80+, numbered words or degrees of a school in the order of their numbers."""
    for form in (RANGE, NUMBERED, GRADE):
        found = [form.fullmatch(word.strip()) for word in words]
        if not all(found) or 2 * sum(word.strip().isdigit() for word in words) > len(words):
            continue
        ends = [_ends(one.groupdict()) for one in found if one]
        order = sorted(range(len(words)), key=lambda i: ends[i])
        rising = all(ends[a][1] <= ends[b][0] and ends[a] != ends[b] for a, b in itertools.pairwise(order))
        if rising and all(low <= high for low, high in ends):
            return tuple(words[i] for i in order)
    return None


def _ends(parts: dict[str, str | None]) -> tuple[float, float]:
    low = float(parts.get("low") or parts.get("rest") or 0)
    high = float(parts.get("high") or low)
    if parts.get("below"):
        return -math.inf, low
    return low, math.inf if parts.get("above") or parts.get("plus") else high


def _is_grade(letters: Collection[str], name: str) -> bool:
    return any(word in name.lower() for word in ("grade", "rating", "mark")) or any(
        word[-1] in "+-" for word in letters
    )
