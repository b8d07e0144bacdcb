"""Shared parts of the tests of consumers."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import Server

__all__ = ["ConsumerCase", "blocks", "lines_of", "until"]

PAGE = Path(__file__).parents[2] / "docs" / "consumers.rst"
#: Seconds that anything may take.
PATIENCE = 60.0


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def lines_of(node: Server, message: str) -> list[str]:
    """Return the log lines of *node* with *message*."""
    mark = f'"message": "{message}"'
    return [line for line in node.log().splitlines() if mark in line]


def blocks(section: str, language: str) -> list[str]:
    """Return the code blocks of a section, in one language."""
    text = PAGE.read_text()
    start = text.index(f"\n{section}\n---")
    end = re.compile(r"\n[^\n]+\n----*\n").search(text, start + len(section) + 8)
    part = text[start : end.start() if end else None]
    pattern = rf"\.\. code-block:: {language}\n\n((?:    [^\n]*\n|\n)+)"
    return [re.sub(r"(?m)^    ", "", each) for each in re.findall(pattern, part)]


class ConsumerCase(SynchronousTestCase):
    """Nodes with a consumer, whose channels keep history so that it can be seen."""

    def node(self, consumer: dict[str, Any], **options: Any) -> Server:
        """Return a node that is not started."""
        given: dict[str, Any] = {
            "consumers": [{"name": "source", "enabled": True, **consumer}],
            "channel": {
                "without_namespace": {"history_size": 100000, "history_ttl": "1h"}
            },
            "prometheus": {"enabled": True},
            **options,
        }
        node = Server(given)
        self.addCleanup(node.close)
        return node

    @staticmethod
    def published(node: Server, channel: str) -> list[Any]:
        """Return the publications of a channel, in order."""
        found = node.api("history", channel=channel, limit=-1)
        return [each["data"] for each in found["publications"]]

    @staticmethod
    def top(node: Server, channel: str) -> int:
        """Return how many publications a channel has had."""
        return int(node.api("history", channel=channel).get("offset", 0))

    @staticmethod
    def counted(node: Server, name: str) -> dict[str, float]:
        """Return the samples of a metric, by the text of their labels."""
        text = node.request("GET", "/metrics")[1].decode()
        found = {}
        for line in text.splitlines():
            if line.startswith(f"centrifugo_{name}{{"):
                labels, _, value = line.partition("{")[2].rpartition("} ")
                found[labels] = float(value)
        return found

    def assert_in_order(self, published: list[Any], expected: list[Any]) -> int:
        """Fail unless each came, the first time in order; return how often again."""
        self.assertEqual(list(dict.fromkeys(published)), expected)
        return len(published) - len(expected)
