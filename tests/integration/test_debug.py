"""The pages about processes, asked of two workers."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import Server

REPORTS = ("threads", "reactor", "channels", "clients", "objects")


class WorkerTests(SynchronousTestCase):
    """Whichever worker is asked, it can tell of both."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server(
            {"workers": "2", "debug": {"enabled": True, "handler_prefix": "/debug"}}
        )
        cls.addClassCleanup(cls.server.close)
        cls.server.start()

    def get(self, path: str, status: int = 200) -> Any:
        """Return a report as JSON."""
        accept = {"Accept": "application/json"}
        found, body = self.server.request("GET", f"/debug/{path}", headers=accept)
        self.assertEqual(found, status, body)
        return json.loads(body)

    def nodes(self) -> dict[str, str]:
        """Return the ids of the workers by name."""
        found: list[dict[str, str]] = []
        while len(found) < 2:  # they hear of each other
            found = self.get("")["nodes"]
        return {each["name"]: each["uid"] for each in found}

    def test_reports(self) -> None:
        """Each report is that of the worker that was named."""
        for name, uid in self.nodes().items():
            for report in REPORTS:
                self.assertEqual(self.get(f"{report}?node={uid}")["node"], name)

    def test_profile(self) -> None:
        """A profile is taken in the worker that was named, and kept there."""
        for name, uid in self.nodes().items():
            profile = self.get(f"profile?seconds=0.5&node={uid}")
            self.assertEqual(profile["node"], name)
            self.assertGreater(profile["samples"], 5)
            page = f"/debug/profile?latest=1&node={uid}"
            status, body = self.server.request("GET", page)
            self.assertEqual(status, 200)
            self.assertIn(f"Profile of {name}".encode(), body)
        self.assertEqual(self.server.complaints(), [])

    def test_unknown(self) -> None:
        """A node that is not there is a 404."""
        self.assertIn("no such node", self.get("threads?node=nobody", 404)["error"])
