"""Wrong usage in words: what is missing, unknown or too much, and what to write instead."""

from __future__ import annotations

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from latentmap.messages import one_line, suggest


def explain(error: CycloptsError, app: App) -> str:
    """Return one line about wrong usage."""
    called = " ".join(["latentmap", *(error.command_chain or ())])
    usage = error.command_chain and app[error.command_chain[0]].usage
    usage = f"usage: {usage}" if usage else f"see {called} --help"
    match error:
        case MissingArgumentError(argument=argument) if argument is not None:
            if argument.tokens or error.keyword:
                return f"{error.keyword or argument.name} takes a value, and none is given"
            return f"{argument.name} is missing; {usage}"
        case UnknownOptionError():
            return _unknown_option(error, called)
        case UnusedCliTokensError(unused_tokens=[*_, _] as unused):
            return f"unexpected {', '.join(map(repr, unused))}; {usage}"
        case UnknownCommandError(unused_tokens=[name, *_]):
            return _unknown_command(name, app)
        case _:
            return one_line(error)


def _unknown_command(name: str, app: App) -> str:
    if name.startswith("-"):
        return f"latentmap has no option {name}; latentmap --help lists them"
    commands = [command for command in app if not command.startswith("-")]
    return f"no command is called {name!r}: {suggest(name, [*commands, *app.help_flags[:1], *app.version_flags[:1]])}"


def _unknown_option(error: UnknownOptionError, command: str) -> str:
    """Name the option that was probably meant; parameters of the model are given with --set."""
    import difflib

    name = (error.token.keyword or error.token.value).partition("=")[0]
    known = [name for argument in error.argument_collection for name in argument.names if name.startswith("-")]
    if close := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        return f"{command} has no option {name}: did you mean {close[0]}?"
    if "--set" in known and name.startswith("--"):
        setting = name[2:].replace("-", "_")
        return f"{command} has no option {name}: give parameters of the model with --set {setting}=VALUE"
    return f"{command} has no option {name}; {command} --help lists them"
