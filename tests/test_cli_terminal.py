"""What commands print, whatever the data hold."""

from latentmap.cli.terminal import say


def test_control_characters_of_names_do_not_reach_the_terminal(capsys):
    say("a \x1b[31mred\x07\n\tnext")
    assert capsys.readouterr().err == "a \\x1b[31mred\\x07\n\tnext\n"
