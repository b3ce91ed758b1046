"""The application: its commands, and how errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from latentmap import __version__
from latentmap.cli import workers
from latentmap.cli.compare import compare
from latentmap.cli.completion import install_completion
from latentmap.cli.explore import explore
from latentmap.cli.export import export
from latentmap.cli.fit import fit
from latentmap.cli.help import PlainHelp, shown_default, usage
from latentmap.cli.impute import impute
from latentmap.cli.info import info
from latentmap.cli.mistakes import explain
from latentmap.cli.recipes import recipes
from latentmap.cli.report import report
from latentmap.cli.resume import resume
from latentmap.cli.sample import sample
from latentmap.cli.score import score
from latentmap.cli.signals import Stopped
from latentmap.cli.terminal import UsageError, say, show_warnings_as_lines
from latentmap.cli.transform import inverse, transform
from latentmap.data.memory import is_out_of_memory
from latentmap.exceptions import DataError, LatentmapError
from latentmap.messages import one_line

OUTPUTS = ("-o", "--output", "--html", "--columns-template")
"""Options after which ``-`` is a value: standard output, which most of them refuse."""
HELP = """Learn the low-dimensional surface that data lie on; encode, decode, sample, score and repair with it.

latentmap fit digits -o run
"""

app = App(
    name="latentmap",
    help=HELP,
    help_format="plaintext",
    help_formatter=PlainHelp(),
    usage="latentmap COMMAND [ARGUMENTS]",
    version=__version__,
    version_flags=("--version", "-V"),
    group_parameters="Options",
    default_parameter=Parameter(negative=(), show_default=shown_default),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for command in (
    fit,
    resume,
    transform,
    inverse,
    sample,
    score,
    impute,
    compare,
    report,
    explore,
    export,
    info,
    recipes,
):
    app.command(command, usage=usage(command))
app.command(install_completion, name="--install-completion")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process, and return the exit code.

    >>> run(["--version"])
    0.1.0
    0
    """
    given = _with_input_last(sys.argv[1:] if arguments is None else arguments)
    workers.arguments.set(given)
    with warnings.catch_warnings(), workers.one_voice(given):
        show_warnings_as_lines(workers.command_of(given))
        try:
            _require_current_folder()
            app(given, exit_on_error=False, print_error=False)
            sys.stdout.flush()
            return 0
        except CycloptsError as error:
            say(f"error: {explain(error, app)}")
            return 2
        except BrokenPipeError:  # the reader of standard output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            if is_out_of_memory(error):
                raise
            say(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {one_line(error)}")
            return 1
        except (LatentmapError, UsageError, ValueError) as error:
            say(f"error: {one_line(error)}")
            return getattr(error, "exit_code", 1)
        except Stopped as error:
            say(one_line(error))
            return error.code
        except KeyboardInterrupt:
            say("stopped")
            return 130


def _require_current_folder() -> None:
    """Raise where the current folder was removed, in which libraries of numerics end the process."""
    try:
        os.getcwd()
    except OSError as error:
        raise DataError(f"the current folder cannot be used ({error.strerror}); change to another one") from error


def _with_input_last(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which ``-``, standard input as data, stands last and behind ``--``: it is no option.

    >>> _with_input_last(["fit", "-", "-o", "run"]), _with_input_last(["info", "x.csv", "--columns-template", "-"])
    (['fit', '-o', 'run', '--', '-'], ['info', 'x.csv', '--columns-template=-'])
    """
    given = list[str]()
    for one in arguments:
        if one == "-" and given and given[-1] in OUTPUTS:
            given[-1] += "=-"
        else:
            given.append(one)
    places = [i for i, one in enumerate(given) if one == "-"]
    if not places or "--" in given:
        return given
    return [*(one for i, one in enumerate(given) if i not in places), "--", *["-"] * len(places)]
