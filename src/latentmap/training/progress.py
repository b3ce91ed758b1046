"""Progress bar on standard error, a callback of a fit."""

from __future__ import annotations

import contextlib
import sys
from typing import IO, TYPE_CHECKING, Any, Self, TextIO, cast

from latentmap.training.callbacks import Progress
from latentmap.training.metrics import HELD_OUT, Row, parts_of

if TYPE_CHECKING:
    from rich.console import Console


class Screen:
    """A terminal that may be closed: what it does not take is left out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, if the terminal is still there."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Show what was written, if the terminal is still there."""
        with contextlib.suppress(OSError):
            self._stream.flush()


class ProgressBar:
    """Bar with the loss, throughput, remaining time and the parts of the loss; a callback and a context manager.

    Losses are in nats per row, in the data's own units, of the held-out rows if there are any.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        self.facts = "starting"
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("fit {task.percentage:3.0f}%"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[facts]}"),
            console=console or Console(file=cast(IO[str], Screen(sys.stderr))),
        )
        self._task = self._bar.add_task("fit", total=1.0, facts=self.facts)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, row: Row, progress: Progress) -> None:
        """Show a new row of the history."""
        prefix = "" if row.get("val_loss") is None else HELD_OUT
        parts = {"loss": row[prefix + "loss"]} | parts_of(row, prefix)
        losses = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in parts.items()]
        minutes, seconds = divmod(round(progress.seconds * (1 / progress.fraction - 1)), 60)
        speed = f"{progress.rows_per_second:,.0f} rows/s"
        left = f"{minutes}:{seconds:02} left"
        self.facts = "  ".join([*losses[:3], speed, left, *losses[3:]])  # a narrow terminal cuts the end
        self._bar.update(self._task, completed=progress.fraction, facts=self.facts)
