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
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define, field
from websockets.sync.client import ClientConnection, connect

__all__ = ["Chromium", "Tab", "Window"]

#: Seconds that the browser has for one step.
PATIENCE = 60.0
#: Seconds between two looks at whether something has come true.
AGAIN = 0.03


class CommandRefused(AssertionError):
    """The browser has refused a command, perhaps because another page is loading."""


@define(eq=False)
class Tab:
    """One page of the browser; ``errors`` are what it logged and threw."""

    _socket: ClientConnection
    errors: list[str] = field(factory=list, init=False)
    _last: int = field(default=0, init=False)
    #: Contents of files by their addresses, instead of those of the network.
    _files: dict[str, bytes] = field(factory=dict, init=False)

    def serve(self, files: dict[str, bytes]) -> None:
        """Answer requests for scripts at other sites from here, by address."""
        self._files = files
        self.send("Fetch.enable", patterns=[{"urlPattern": url} for url in files])

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command of the protocol; return its result."""
        id = self._order(method, parameters)
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == id:
                if "error" in answer:
                    raise CommandRefused(answer)
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
        elif event.get("method") == "Fetch.requestPaused":
            headers = {
                "Content-Type": "text/javascript",
                "Access-Control-Allow-Origin": "*",
            }
            answer = {
                "requestId": parameters["requestId"],
                "responseCode": 200,
                "responseHeaders": [
                    {"name": name, "value": value} for name, value in headers.items()
                ],
                "body": base64.b64encode(
                    self._files[parameters["request"]["url"]]
                ).decode(),
            }
            self._order("Fetch.fulfillRequest", answer)

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
        while time.monotonic() < deadline:
            with contextlib.suppress(CommandRefused):
                if value := self.run(script):
                    return value
            time.sleep(AGAIN)
        text = self.run("document.body.innerText")
        raise AssertionError(f"never true: {script}\n{text}\n{self.errors[:3]}")

    def sees(self, text: str) -> None:
        """Wait until the page shows *text*."""
        self.wait(f"document.body?.innerText.includes({json.dumps(text)})")

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
class Window:
    """A running browser, which opens tabs."""

    _address: str
    _socket: ClientConnection
    _tabs: contextlib.ExitStack
    _last: int = field(default=0, init=False)

    def new_person(self) -> str:
        """Return the id of somebody who has no cookies yet."""
        found: str = self._send("Target.createBrowserContext")["browserContextId"]
        return found

    def new_tab(self, person: str) -> Tab:
        """Open a tab, until the browser is closed; one person's share their cookies."""
        target = self._send(
            "Target.createTarget", url="about:blank", browserContextId=person
        )["targetId"]
        url = f"ws://{self._address}/devtools/page/{target}"
        return _tab_at(self._tabs.enter_context(connect(url, max_size=2**26)))

    def _send(self, method: str, **parameters: Any) -> Any:
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        self._socket.send(json.dumps(command))
        answer = json.loads(self._socket.recv(PATIENCE))
        while answer.get("id") != self._last:  # it is an event
            answer = json.loads(self._socket.recv(PATIENCE))
        assert "error" not in answer, answer
        return answer["result"]


@define(eq=False)
class Chromium:
    """Starts the browser, and ends it.

    ``hosts`` are other addresses (``127.0.0.1:4711``) of hosts that pages name
    (``localhost:8000``).
    """

    hosts: dict[str, str] = field(factory=dict)
    _command: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        if found is None:
            raise SkipTest("Chromium is not installed")
        self._command = found

    @contextlib.contextmanager
    def tab(self) -> Iterator[Tab]:
        """Open one page, and close the browser with it."""
        with self._started() as address:
            pages = _answer_of(address, "/json")
            url = next(page for page in pages if page["type"] == "page")
            with connect(url["webSocketDebuggerUrl"], max_size=2**26) as socket:
                yield _tab_at(socket)

    @contextlib.contextmanager
    def window(self) -> Iterator[Window]:
        """Start the browser, and close it with all its tabs."""
        with self._started() as address, contextlib.ExitStack() as tabs:
            url = _answer_of(address, "/json/version")["webSocketDebuggerUrl"]
            yield Window(address, tabs.enter_context(connect(url)), tabs)

    @contextlib.contextmanager
    def _started(self) -> Iterator[str]:
        """Start the browser; give the address that leads it."""
        quiet = subprocess.DEVNULL
        rules = ", ".join(f"MAP {name} {to}" for name, to in self.hosts.items())
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            process = subprocess.Popen(
                [
                    *(self._command, "--headless", "--no-sandbox", "--disable-gpu"),
                    *("--no-first-run", "--disable-background-networking"),
                    *("--disable-component-update", "--disable-sync"),
                    *("--disable-dev-shm-usage", "--remote-debugging-port=0"),
                    *("--hide-scrollbars", f"--host-resolver-rules={rules}"),
                    *(f"--user-data-dir={profile}", "about:blank"),
                ],
                stdout=quiet,
                stderr=quiet,
            )
            try:
                yield _address(Path(profile))
            finally:
                process.terminate()
                process.wait(PATIENCE)


def _tab_at(socket: ClientConnection) -> Tab:
    """Return the tab at the end of a connection."""
    tab = Tab(socket)
    for domain in ("Page", "Runtime", "Log"):
        tab.send(f"{domain}.enable")
    return tab


def _answer_of(address: str, path: str) -> Any:
    """Return what the browser answers over HTTP."""
    connection = HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _address(profile: Path) -> str:
    """Return where the browser is led from, when it has started."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, LookupError, ValueError, HTTPException):
            port = int((profile / "DevToolsActivePort").read_text().split()[0])
            address = f"127.0.0.1:{port}"
            if any(page["type"] == "page" for page in _answer_of(address, "/json")):
                return address
        time.sleep(AGAIN)
    raise AssertionError("the browser has not started")
