"""A headless Chromium that a test leads step by step.

It is led over its own WebSocket (Chrome DevTools Protocol).
"""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define, field
from websockets.sync.client import ClientConnection, connect

__all__ = ["Chromium", "Tab"]

#: Seconds that the browser has for one step.
PATIENCE = 60.0
#: Seconds between two looks at whether something has come true.
AGAIN = 0.03


@define(eq=False)
class Tab:
    """One page of the browser; ``errors`` are what it logged and threw."""

    _socket: ClientConnection
    errors: list[str] = field(factory=list, init=False)
    _last: int = field(default=0, init=False)

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command of the protocol; return its result."""
        id = self._order(method, parameters)
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == id:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _order(self, method: str, parameters: dict[str, Any]) -> int:
        self._last += 1
        order = {"id": self._last, "method": method, "params": parameters}
        self._socket.send(json.dumps(order))
        return self._last

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            entry = parameters["entry"]
            if entry["level"] == "error":
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")
        elif event.get("method") == "Page.javascriptDialogOpening":
            self._order("Page.handleJavaScriptDialog", {"accept": True})

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, awaited if need be."""
        found = self.send(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                text = self.run("document.body.innerText")
                raise AssertionError(f"never true: {script}\n{text}\n{self.errors}")
            time.sleep(AGAIN)
        return value

    def sees(self, text: str) -> None:
        """Wait until the page shows *text*."""
        self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def fill(self, selector: str, text: str) -> None:
        """Write *text* into a field, as if it was typed."""
        quoted, value = json.dumps(selector), json.dumps(text)
        self.wait(f"document.querySelector({quoted}) !== null")
        self.run(
            f"(() => {{ const f = document.querySelector({quoted}); f.focus();"
            f" f.value = {value};"
            " f.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def click(self, text: str, selector: str = "a, button") -> None:
        """Click on the element that has exactly this text."""
        found = (
            f"[...document.querySelectorAll({json.dumps(selector)})].find((each) =>"
            f" each.textContent.trim() === {json.dumps(text)} && !each.disabled"
            " && each.offsetParent !== null)"
        )
        self.wait(f"{found} !== undefined")
        self.run(f"{found}.click()")

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )

    def go(self, url: str) -> None:
        """Load a page."""
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        """Give the page a size in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )

    def prefer(self, scheme: str) -> None:
        """Prefer the ``dark`` or the ``light`` color scheme."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self) -> bytes:
        """Return a screenshot, as PNG."""
        found = self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])


@define(eq=False)
class Chromium:
    """Starts the browser, and ends it."""

    _command: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        if found is None:
            raise SkipTest("Chromium is not installed")
        self._command = found

    @contextlib.contextmanager
    def tab(self) -> Iterator[Tab]:
        """Open one page, and close the browser with it."""
        quiet = subprocess.DEVNULL
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            process = subprocess.Popen(
                [
                    *(self._command, "--headless", "--no-sandbox", "--disable-gpu"),
                    *("--no-first-run", "--disable-background-networking"),
                    *("--disable-component-update", "--disable-sync"),
                    *("--disable-dev-shm-usage", "--remote-debugging-port=0"),
                    "--hide-scrollbars",
                    *(f"--user-data-dir={profile}", "about:blank"),
                ],
                stdout=quiet,
                stderr=quiet,
            )
            try:
                with connect(_address(Path(profile)), max_size=2**26) as socket:
                    tab = Tab(socket)
                    for domain in ("Page", "Runtime", "Log"):
                        tab.send(f"{domain}.enable")
                    yield tab
            finally:
                process.terminate()
                process.wait(PATIENCE)


def _address(profile: Path) -> str:
    """Return where the first page is led from, when the browser has started."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, LookupError, ValueError, StopIteration):
            port = int((profile / "DevToolsActivePort").read_text().split()[0])
            connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/json")
            pages = json.loads(connection.getresponse().read())
            connection.close()
            found = next(page for page in pages if page["type"] == "page")
            address: str = found["webSocketDebuggerUrl"]
            return address
        time.sleep(AGAIN)
    raise AssertionError("the browser has not started")
