"""The wording that messages share: suggestions, errors on one line, counts, amounts of information."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def suggest(word: str, options: Collection[str]) -> str:
    """List the options, and name the one that was probably meant.

    >>> suggest("minst", ["digits", "mnist"])
    "did you mean 'mnist'? There are: digits, mnist"
    """
    import difflib

    close = difflib.get_close_matches(word, options, n=1)
    shown = ", ".join(list(options)[:20]) + (f", and {len(options) - 20} more" if len(options) > 20 else "")
    return (f"did you mean {close[0]!r}? There are: " if close else "there are: ") + shown


def one_line(message: object) -> str:
    r"""Return a message on one line.

    >>> one_line("expected 4 columns,\n    got 3")
    'expected 4 columns, got 3'
    """
    return " ".join(str(message).split())


def error_line(error: BaseException, limit: int = 150) -> str:
    """Return the message of an error on one line of limited length; with the name of the error if it is only a word.

    >>> error_line(KeyError("rows")), error_line(ValueError("no such row")), error_line(MemoryError())
    ("KeyError: 'rows'", 'no such row', 'MemoryError')
    """
    text = one_line(error)
    text = text if " " in text else f"{type(error).__name__}: {text}".rstrip(": ")
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "row"), counted(1797, "row"), counted(2, "class")
    ('1 row', '1,797 rows', '2 classes')
    """
    plural = noun if n == 1 else noun + ("es" if noun.endswith("s") else "s")
    return f"{n:,} {plural}"


def nats(amount: float) -> str:
    """Return an amount of information in nats, to one decimal; one that rounds to none is less than that.

    >>> nats(12.34), nats(0.04), nats(-0.01)
    ('12.3 nats', 'less than 0.05 nats', 'less than 0.05 nats')
    """
    return "less than 0.05 nats" if abs(amount) < 0.05 else f"{amount:.1f} nats"


def any_of(words: Sequence[str]) -> str:
    """Return words as alternatives.

    >>> any_of([".png", ".svg", ".pdf"]), any_of([".html"])
    ('.png, .svg or .pdf', '.html')
    """
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
