"""The live table."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.console.terminal import Style
from centrifugo_tx.console.top_command import Sample, Screen, lines_of

from .command_case import ADDRESS, CommandCase, http


def node(clients: int, **more: Any) -> dict[str, Any]:
    """Return a node of ``info``."""
    counts = {"num_users": 2, "num_subs": 3, "num_channels": 4}
    name = {"uid": "u", "name": "n", "version": "v", "uptime": 5}
    return {**name, **counts, "num_clients": clients, **more}


class TableTests(SynchronousTestCase):
    """The contents of the tables."""

    def test_tables(self) -> None:
        """Nodes, the channels with most subscribers, and changes are shown."""
        before = Sample(10.0, [node(1)], {"a": 1, "b": 5})
        channels = {"a": 3, "b": 5, "c": 1}
        lines = lines_of(Sample(12.0, [node(5)], channels), before, Style(), 7)
        self.assertEqual(
            lines[0].split()[3:], ["CLIENTS", "USERS", "SUBS", "CHANNELS", "CLIENTS/s"]
        )
        self.assertEqual(lines[1].split(), ["n", "v", "5s", "5", "2", "3", "4", "+2.0"])
        self.assertEqual(
            [line.split() for line in lines[3:]],
            [
                ["CLIENTS", "CHANGE", "CHANNEL"],
                ["5", "b"],
                ["3", "channels,", "the", "fullest", "1", "are", "shown"],
            ],
        )
        lines = lines_of(Sample(12.0, [node(5)], channels), before, Style(), 30)
        self.assertEqual(lines[5].split(), ["3", "+2", "a"])
        self.assertEqual(lines[-1], "3 channels")

    def test_rates(self) -> None:
        """Metrics of a node are shown for each second."""
        items = {"centrifugo.node.messages_sent_count.type.publication": 120.0}
        metrics = {"interval": 60, "items": items}
        lines = lines_of(
            Sample(1.0, [node(1, metrics=metrics)], None), None, Style(), 9
        )
        self.assertEqual(lines[0].split()[-2:], ["SENT/s", "RECV/s"])
        self.assertEqual(lines[1].split()[-2:], ["2.0", "-"])

    def test_screen(self) -> None:
        """A terminal is written over from its corner, lines cut at its edge."""
        written: list[str] = []
        Screen(written.append, True).show(["\x1b[1m" + "x" * 500 + "\x1b[0m", "y"])
        (text,) = written
        self.assertTrue(text.startswith("\x1b[H\x1b[1mx"))
        self.assertTrue(text.endswith("x\x1b[0m\x1b[K\r\ny\x1b[K\x1b[J"))
        self.assertLess(text.count("x"), 500)
        Screen(written.append).show(["a", "b"])
        self.assertEqual(written[1], "a\nb\n\n")


class OnceTests(CommandCase):
    """``top --once``."""

    def answer(self) -> None:
        """Prepare both answers."""
        answers = {"nodes": [node(1)]}, {"channels": {"a": {"num_clients": 1}}}
        head = "Connection: close\r\n"
        self.answers = [http(200, {"result": each}, head) for each in answers]

    def test_text(self) -> None:
        """Both tables, without escape sequences."""
        self.answer()
        said = self.command("top", "--once", *ADDRESS)
        self.assertEqual(said.splitlines()[-1], "1 channel")
        self.assertNotIn("\x1b", said)

    def test_json(self) -> None:
        """One object."""
        self.answer()
        said = json.loads(self.command("top", "--once", "--json", *ADDRESS))
        self.assertEqual(said["channels"], {"a": 1})
        self.assertEqual(said["nodes"], [node(1)])

    def test_failure(self) -> None:
        """No server: a line and an exit code."""
        self.answers = [ConnectionRefusedError()]
        self.command("top", "--once", *ADDRESS, code=3)
        self.answers = [http(200, {"result": {"nodes": [{}]}})]
        self.command("top", "--once", "--no-channels", *ADDRESS, code=5)
