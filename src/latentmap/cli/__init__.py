"""The command `latentmap`: parse, call, print. Results go to standard output, all else to standard error.

Exit codes: 0 done, 1 the data or the model is at fault, 2 wrong usage.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import cyclopts

import latentmap
from latentmap.cli import fitting, showing, using
from latentmap.cli.output import UsageError, note
from latentmap.exceptions import DiagnosisWarning, LatentmapError

app = cyclopts.App(
    name="latentmap",
    help="Learn the low-dimensional surface your data lie on; encode, decode, sample and score with it.",
    version=latentmap.__version__,
    help_format="plaintext",
)
for command in (*fitting.COMMANDS, *using.COMMANDS, *showing.COMMANDS):
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DiagnosisWarning)
        warnings.showwarning = lambda message, *where, **more: note(f"note: {message}")
        try:
            tokens = list(sys.argv[1:] if arguments is None else arguments)
            app(tokens, exit_on_error=False, result_action="return_value")
        except cyclopts.CycloptsError:
            return 2
        except UsageError as error:
            note(f"error: {error}")
            return 2
        except (LatentmapError, ValueError, OSError) as error:
            note(f"error: {' '.join(str(error).split())}")
            return 1
        except KeyboardInterrupt:
            note("interrupted: nothing was written")
            return 1
    return 0
