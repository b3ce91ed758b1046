"""Numbers in text: separators of thousands, decimal commas, currencies, percent, units, accounting negatives."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from latentmap.data.checks import EXACT
from latentmap.data.text_formats import TextFormat

PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf(?:inity)?", re.ASCII | re.IGNORECASE)
CODE = re.compile(r"[+-]?0\d+", re.ASCII)
"""Whole numbers with leading zeros, which are codes."""
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
LETTERED = re.compile(r"\d+[A-Za-z]", re.ASCII)
"""Whole numbers with a letter behind them, such as those of houses."""
CURRENCY = (
    r"(?:(?:US|CA|AU|NZ|HK|A|C|R|S)?\$|[€£¥₹₽₩₺₪฿₫₴₦₱]|Rs\.?|kr\.?|zł|Kč|Ft|"
    r"(?:USD|EUR|GBP|JPY|CHF|CNY|RMB|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|RUB|TRY|KRW|SGD|HKD|ILS|THB)\b)"
)
_UNIT = r"(?:[%‰°µ²³]|[^\W\d_])(?:[^\s\d,;()]|[²³]|(?<=[a-zA-Z])[23](?=$|/)){0,11}"
DECORATED = re.compile(
    rf"(?:(?P<outer>{CURRENCY}\s*)(?=\())?(?P<open>\()?\s*(?P<sign>[+\-−]?)\s*(?P<prefix>{CURRENCY}\s*)?(?P<inner>[+\-−]?)"
    r"(?P<body>\d(?:[\d.,'’ \u00a0\u202f]*\d)?[.,]?|[.,]\d+)(?P<exp>[eE][+-]?\d+)?"
    rf"(?P<suffix>\s*(?:{CURRENCY}|{_UNIT}))?\s*(?P<close>\))?(?P<minus>-)?(?P<behind>(?<=\))\s*(?:{CURRENCY}|{_UNIT}))?"
)
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "’": "'"})
SEPARATORS = (("", "."), (",", "."), (".", ","), (" ", "."), (" ", ","), ("'", "."), ("'", ","), ("", ","))
"""Separators of thousands and decimals, in the order in which they are preferred where several fit."""


CHANCE = 1e-6
"""The probability below which an order is none by chance."""


def _body(thousands: str, decimal: str) -> re.Pattern[str]:
    t, d = re.escape(thousands), re.escape(decimal)
    grouped = rf"[1-9]\d{{0,2}}(?:{t}\d{{3}})+|[1-9]\d?(?:{t}\d{{2}})+{t}\d{{3}}|" if thousands else ""
    return re.compile(rf"(?:(?:{grouped}\d+)(?:{d}\d*)?|{d}\d+)\Z", re.ASCII)


BODIES = {separators: _body(*separators) for separators in SEPARATORS}


@dataclass(frozen=True)
class Amount:
    """A number as it is written, its separators not yet settled."""

    body: str
    prefix: str
    suffix: str
    negative: bool
    exponent: str
    accounting: bool
    outside: bool = False
    """Whether prefix or suffix stand outside of the parentheses of a negative number."""

    @property
    def mark(self) -> tuple[str, str]:
        """What is written before and after the number, without spaces."""
        return self.prefix.strip(), self.suffix.strip()

    def value(self, thousands: str, decimal: str) -> float | None:
        """Return the number that it is with these separators; None if they do not fit, or part more than 2^53."""
        if not BODIES[thousands, decimal].match(self.body):
            return None
        digits = self.body.replace(thousands, "") if thousands else self.body
        number = float(digits.replace(decimal, ".") + self.exponent)
        if digits != self.body and number > EXACT:  # a list
            return None
        return -number if self.negative else number


def amount(text: str) -> Amount | None:
    """Return a number with a currency, a sign of percent or a unit, or none of them; None if the text is no number.

    >>> amount("($1,250.50)").value(",", "."), amount("$(4.50)").value("", "."), amount("12 kg").suffix, amount("oak")
    (-1250.5, -4.5, ' kg', None)
    """
    if not (match := DECORATED.fullmatch(text)) or bool(match["open"]) != bool(match["close"]):
        return None
    signs = sum(bool(part) for part in (match["open"], match["sign"], match["inner"], match["minus"]))
    if signs > 1:
        return None
    minus = (match["sign"] or match["inner"]) in ("-", "−")
    negative = minus or bool(match["open"] or match["minus"])
    body = match["body"].translate(SPACES)
    if not any(fits.match(body) for fits in BODIES.values()):
        return None
    outside = bool(match["outer"] or match["behind"])
    if (match["outer"] and match["prefix"]) or (match["behind"] and match["suffix"]):
        return None
    prefix = (match["outer"] or match["prefix"] or "").translate(SPACES)
    suffix = (match["behind"] or match["suffix"] or "").translate(SPACES)
    return Amount(body, prefix, suffix, negative, match["exp"] or "", bool(match["open"]), outside)


def decoration(amounts: Mapping[Amount, int]) -> tuple[str, str] | None:
    """Return prefix and suffix that all numbers of a column share; None where they differ, so that it is text.

    Zeros may be without, and so may any number in a column of money.
    """
    marks: Counter[tuple[str, str]] = Counter()
    for one, count in amounts.items():
        marks[one.mark] += count
    bare = marks.pop(("", ""), 0)
    if not marks:
        return "", ""
    if len(marks) > 1 and (bare <= 9 * sum(marks.values())):
        return None
    if bare > 9 * sum(marks.values()):
        return "", ""
    (shared,) = marks
    zeros = all(not one.body.strip("0.,") for one in amounts if not (one.prefix or one.suffix))
    money = re.fullmatch(CURRENCY, shared[0] or shared[1]) is not None
    return shared if zeros or money else None


def separators(amounts: Mapping[Amount, int], *, comma: bool) -> tuple[str, str]:
    """Return the separators of thousands and decimals that fit most numbers of a column.

    ``comma`` says that commas are rather decimal ones, where both fit.
    """
    bodies: Counter[str] = Counter()
    for one, count in amounts.items():
        bodies[one.body] += count
    order: Sequence[tuple[str, str]] = sorted(SEPARATORS, key=lambda pair: pair[1] != ",") if comma else SEPARATORS
    order = [("", ","), *order] if comma else order
    fits = {pair: sum(n for body, n in bodies.items() if BODIES[pair].match(body)) for pair in dict.fromkeys(order)}
    return max(fits, key=lambda pair: fits[pair])  # the first of the best


def are_lists(bodies: Iterable[str], thousands: str, decimal: str) -> bool:
    """Return whether what seem to be thousands are lists of whole numbers, all in rising order.

    Digits in no order would rise, in all different bodies of three parts or more, with a probability below `CHANCE`.

    >>> are_lists([f"{n},{n + 1},{n + 2}" for n in range(290, 390)], ",", ".")
    True
    >>> are_lists([f"{7919 * n:,}" for n in range(1, 200)], ",", ".")
    False
    """
    chance = 1.0
    for body in bodies if thousands else ():
        if decimal in body:
            return False
        if not BODIES[thousands, decimal].match(body):  # written otherwise
            continue
        parts = list(map(int, body.split(thousands)))
        if any(a >= b for a, b in itertools.pairwise(parts)):
            return False
        if len(parts) > 2:
            chance *= (1 - parts[0] / 1000) ** (len(parts) - 1) / math.factorial(len(parts) - 1)
    return chance < CHANCE


def format_of(amounts: Sequence[Amount], thousands: str, decimal: str, mark: tuple[str, str]) -> TextFormat:
    """Return how numbers with these separators and this prefix and suffix are written."""
    like = next((one for one in amounts if one.mark == mark), amounts[0])
    places = {len(one.body.partition(decimal)[2]) for one in amounts}
    grouped = thousands if any(thousands in one.body for one in amounts) else ""
    return TextFormat(
        "number",
        prefix=like.prefix if mark[0] else "",
        suffix=like.suffix if mark[1] else "",
        thousands=grouped,
        decimal=decimal,
        places=max(places),
        fixed=len(places) == 1,
        accounting=any(one.accounting for one in amounts),
        outside=any(one.outside for one in amounts),
    )


def style_of(
    tallies: Counter[Amount], learned: TextFormat | None, *, comma: bool
) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Return (prefix, suffix) and (thousands, decimal) of a column of numbers; None if it has no common ones."""
    if learned is None or learned.kind != "number":
        mark = decoration(tallies)
        return None if mark is None else (mark, separators(tallies, comma=comma))
    pair = (learned.thousands, learned.decimal)
    if not learned.thousands or pair not in BODIES:
        pair = separators(tallies, comma=learned.decimal == ",")
    return (learned.prefix.strip(), learned.suffix.strip()), pair
