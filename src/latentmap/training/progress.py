"""A progress bar on standard error, fed by the history of a fit."""

from __future__ import annotations

from typing import Self

from latentmap.training.loop import Row


class ProgressBar:
    """Bar with loss, rate, distortion, rows per second and remaining time; a callback and a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%  {task.fields[facts]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("fit", total=1.0, facts="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, row: Row) -> None:
        """Show a new row of the history."""
        held_out = row["val_loss"] is not None
        prefix = "val_" if held_out else ""
        facts = "  ".join(f"{name} {row[prefix + name]:.2f}" for name in ("loss", "distortion", "rate"))
        facts += f"  {row['rows_per_second']:,.0f} rows/s"
        self._progress.update(self._task, completed=row["progress"], facts=facts)
