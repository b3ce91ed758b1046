"""The command ``latentmap``: it parses, calls the library, and prints.

Exit codes: 0 done (a fit that Ctrl-C stopped is done: its best weights are saved), 1 error in data, model or file,
2 wrong usage, 130 stopped by Ctrl-C without a result. JSON goes to standard output, all else to standard error. Modules
of commands import the library inside functions, so that ``latentmap --help`` loads neither torch nor scikit-learn;
`latentmap.cli.runs` is imported there too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from latentmap.data.memory import is_out_of_memory, out_of_memory, require_addresses
from latentmap.exceptions import NotEnoughMemoryError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process, and return the exit code.

    Where memory does not suffice to import a library, one line says so, too.

    >>> main(["--version"])
    0.1.0
    0
    """
    try:
        if "torch" not in sys.modules:
            require_addresses()
        from latentmap.cli.app import run

        return run(arguments)
    except NotEnoughMemoryError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        sys.stderr.write(f"error: {out_of_memory(error)}\n")
        return 1
