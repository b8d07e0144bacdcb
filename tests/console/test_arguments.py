"""The command line: its help and its errors."""

import argparse
from collections.abc import Iterator
from importlib import import_module

from centrifugo_tx.console.arguments import parser

from .command_case import CommandCase


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command with its parser."""
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


class HelpTests(CommandCase):
    """Help."""

    def test_all(self) -> None:
        """Every command and every argument has a help text."""
        for name, command in commands():
            self.assertTrue(command.description, name)
            for action in command._actions:
                self.assertTrue(action.help, (name, action.dest))
            self.assertIn("usage: centrifugo-tx " + name, self.command(name, "--help"))

    def test_functions(self) -> None:
        """Every command has its function."""
        for name, command in commands():
            module, _, function = command.get_default("command").partition(":")
            found = import_module(f"centrifugo_tx.console.{module}")
            self.assertIn(function, found.__all__, name)

    def test_exit_codes(self) -> None:
        """Exit codes are in the help of the commands that call a server."""
        self.assertIn("exit codes:", self.command("publish", "--help"))


class RefusalTests(CommandCase):
    """Mistakes on the command line."""

    def test_usage(self) -> None:
        """Each error ends with code 2 and one line."""
        for line in (
            "nothing",
            "publish",
            "publish a 1 --nothing",
            "publish a 1 --text --base64",
            "publish a 1 --timeout 0",
            "publish a 1 --timeout x",
            "history a --limit x",
            "publish a 1 --address ftp://x --key k",
            "completion tcsh",
        ):
            self.command(*line.split(" "), code=2)
            self.assertTrue(self.complaints, line)
