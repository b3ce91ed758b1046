"""How help is laid out: the usage of each command, and texts without the line breaks of the source."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions


def usage(command: Callable[..., Any]) -> str:
    """Return the usage of a command: what it needs, and in brackets what may be left out.

    >>> def encode(run, data=None, /, *, output, seed=0): ...
    >>> usage(encode)
    'latentmap encode RUN [DATA] --output OUTPUT [OPTIONS]'
    """
    words = ["latentmap", command.__name__]
    for name, parameter in inspect.signature(command).parameters.items():
        needed = parameter.default is parameter.empty
        if parameter.kind is parameter.POSITIONAL_ONLY:
            words.append(name.upper() if needed else f"[{name.upper()}]")
        elif needed:
            words.append(f"--{name.replace('_', '-')} {name.upper()}")
    return " ".join([*words, "[OPTIONS]"])


def shown_default(value: object) -> str | None:
    """Return the default that help shows, or None where the text says what is done without the option."""
    return None if value is None or value is False or value == () else str(value)


class PlainHelp:
    """Help in the panels of cyclopts, as plain text: faster than Markdown, the default."""

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print how a command is called."""
        console.print(f"Usage: {usage}", markup=False, highlight=False)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print the text of a command."""
        _reflow(description)
        console.print(description)

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print the arguments, options or commands of a panel."""
        from cyclopts.help import DefaultFormatter

        for entry in panel.entries:
            _reflow(entry.description)
        DefaultFormatter()(console, options, panel)


def _reflow(text: Any) -> None:
    """Join the lines of each paragraph."""
    from rich.text import Text

    paragraphs = re.split(r"\n{2,}", text.primary_renderable.plain)
    text.primary_renderable = Text("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip())
