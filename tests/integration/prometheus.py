"""A real Prometheus that scrapes one server."""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest
from urllib.parse import urlencode
from urllib.request import urlopen

from attrs import define, field

from .ports import free_port

__all__ = ["Prometheus", "program"]

#: Seconds that it has to start, and to scrape.
PATIENCE = 60.0

_CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: centrifugo
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def program(name: str) -> str:
    """Return the path of a program of Prometheus.

    :raises SkipTest: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise SkipTest(f"{name} is not installed (Debian: prometheus)")
    return found


@define(eq=False)
class Prometheus:
    """Scrapes ``target``, a port of the loopback, once a second."""

    target: int
    port: int = field(factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _directory: "tempfile.TemporaryDirectory[str]" = field(
        factory=tempfile.TemporaryDirectory, init=False
    )

    def start(self) -> "Prometheus":
        """Start it."""
        folder = Path(self._directory.name)
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG.format(port=self.target))
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def close(self) -> None:
        """End it, and leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
        self._directory.cleanup()

    def query(self, expression: str) -> list[Any]:
        """Return the result of an instant query.

        :raises OSError: it does not answer, or the query is wrong.
        """
        address = f"http://127.0.0.1:{self.port}/api/v1/query"
        question = urlencode({"query": expression})
        with urlopen(f"{address}?{question}", timeout=PATIENCE) as response:
            answer = json.load(response)
        result: list[Any] = answer["data"]["result"]
        return result

    def wait_for_scrapes(self, number: int) -> None:
        """Wait until the server has been scraped so many times more."""
        before: float | None = None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                found = self.query('sum(count_over_time(up{job="centrifugo"}[1h]))')
            except OSError:
                found = []  # it is starting
            if found or before is None:
                count = float(found[0]["value"][1]) if found else 0.0
                before = count if before is None else before
                if count >= before + number:
                    return
            time.sleep(0.1)
        raise AssertionError("Prometheus does not scrape")
