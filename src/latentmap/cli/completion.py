"""``latentmap --install-completion``: the tabulator key completes commands, options and files."""

from __future__ import annotations

from typing import Literal

from latentmap.cli.terminal import UsageError, say


def install_completion(*, shell: Literal["bash", "zsh", "fish"] | None = None) -> None:
    """Install the completion of commands, options and files in your shell.

    Parameters
    ----------
    shell
        The shell; by default the one that is running.
    """
    from cyclopts.completion.detect import ShellDetectionError, detect_shell

    from latentmap.cli.app import app

    try:
        running = shell or detect_shell()
    except ShellDetectionError:
        raise UsageError("cannot tell which shell is running: name it with --shell") from None
    script = app.install_completion(shell=running)
    say(f"wrote the completion for {running} to {script}; start a new shell to use it")
