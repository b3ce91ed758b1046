"""Words of scales that people answer on, in their order."""

from __future__ import annotations

from collections.abc import Collection

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


def order_of(words: Collection[str], name: str = "") -> tuple[str, ...] | None:
    """Return words of one scale in its order, or None if no scale has all of them.

    Letters of grades alone could label anything: they are a scale where the column is called a grade, or where some
    have a plus or a minus.

    >>> order_of(["high", "low", "Medium"]), order_of(["A", "B", "C"]), order_of(["A", "B", "C"], "grade")
    (('low', 'Medium', 'high'), None, ('C', 'B', 'A'))
    """
    plain = {" ".join(word.replace("_", " ").replace("-", " ").lower().split()): word for word in words}
    letters = {word.strip().lower(): word for word in words}
    if len(plain) == len(words) > 1:
        for scale in LIKERT:
            if plain.keys() <= set(scale):
                return tuple(plain[word] for word in scale if word in plain)
    if len(letters) == len(words) > 2:
        for scale in LETTERS:
            if letters.keys() <= set(scale) and (scale is not GRADES or _is_grade(letters, name)):
                return tuple(letters[word] for word in scale if word in letters)
    return None


def _is_grade(letters: Collection[str], name: str) -> bool:
    return any(word in name.lower() for word in ("grade", "rating", "mark")) or any(
        word[-1] in "+-" for word in letters
    )
