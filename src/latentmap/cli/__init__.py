"""The command ``latentmap``: it parses, calls the library, and prints.

Exit codes: 0 done (a fit that Ctrl-C stopped is done: its best weights are saved), 1 error in data, model or file,
2 wrong usage, 130 stopped by Ctrl-C without a result. JSON goes to standard output, all else to standard error. Modules
of commands import the library inside functions, so that ``latentmap --help`` loads neither torch nor scikit-learn;
`latentmap.cli.runs` is imported there too.
"""

from latentmap.cli.app import main

__all__ = ["main"]
