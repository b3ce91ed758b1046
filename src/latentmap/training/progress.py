"""A progress bar on standard error, fed by the history of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from latentmap.training.metrics import HELD_OUT, Row, parts_of

if TYPE_CHECKING:
    from rich.console import Console


class ProgressBar:
    """Bar with the loss, rows per second, remaining time and the loss's parts; a callback and a context manager.

    They are nats a row in the data's own units, those of the held-out rows where there are any.

    >>> import io
    >>> from rich.console import Console
    >>> row = {"loss": 3.0, "distortion": 2.0, "rate": 1.0, "val_loss": None, "progress": 0.5, "seconds": 61.0}
    >>> with ProgressBar(Console(file=io.StringIO(), width=100)) as bar:
    ...     bar(row | {"rows_per_second": 5000.0})
    ...     bar.facts
    'loss 3.00  distortion 2.00  rate 1.00  5,000 rows/s  1:01 left'
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self.facts = "starting"
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("fit {task.percentage:3.0f}%"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[facts]}"),
            console=console or Console(stderr=True),
        )
        self._task = self._progress.add_task("fit", total=1.0, facts=self.facts)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, row: Row) -> None:
        """Show a new row of the history."""
        known = {name: value for name, value in row.items() if value is not None}
        prefix = HELD_OUT if "val_loss" in known else ""
        parts = {"loss": known[prefix + "loss"]} | parts_of(row, prefix)
        losses = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in parts.items()]
        minutes, seconds = divmod(round(known["seconds"] * (1 / known["progress"] - 1)), 60)
        speed = f"{known['rows_per_second']:,.0f} rows/s"
        left = f"{minutes}:{seconds:02} left"
        self.facts = "  ".join([*losses[:3], speed, left, *losses[3:]])  # a narrow terminal cuts the end
        self._progress.update(self._task, completed=known["progress"], facts=self.facts)
