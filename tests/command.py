"""The command, called in this process: what it says, what it prints, its exit code."""

import json
from typing import NamedTuple

from latentmap.cli import main


class Answer(NamedTuple):
    """What a call of the command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Standard output, which must be one JSON object."""
        return json.loads(self.out)

    @property
    def errors(self):
        """Lines that begin with error."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def ask(capsys, *arguments):
    """Call the command."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    return Answer(code, *capsys.readouterr())


def must(capsys, *arguments):
    """Call the command, which must succeed."""
    answer = ask(capsys, *arguments)
    assert answer.code == 0, answer.err
    assert not answer.errors and "Traceback" not in answer.err and "Warning" not in answer.err
    return answer
