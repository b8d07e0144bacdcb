"""The package for backends, as an application uses it."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.backend import sign

from .page import blocks_of

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "backends"
#: Seconds that another Python may take.
PATIENCE = 120.0

IMPORTED = """
import sys
from centrifugo_tx.backend import *
foreign = {"twisted", "zope", "autobahn", "grpc", "django", "flask", "fastapi"}
print(sorted(foreign & {name.partition(".")[0] for name in sys.modules}))
print(sorted(
    name for name in sys.modules
    if name.startswith("centrifugo_tx.")
    and not name.startswith("centrifugo_tx.backend")
))
"""
MISTAKE = """
from centrifugo_tx.backend import PUBLISH, RPCRequest, RPCResult
from centrifugo_tx.backend.flask import proxy_view

@proxy_view(PUBLISH)
def publish(call: RPCRequest) -> RPCResult:
    return RPCResult(data=call.data)
"""


def python(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run another Python."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **options,
    )


class BackendTests(SynchronousTestCase):
    """Imports, types and the page on backends."""

    def test_imports(self) -> None:
        """Importing it loads no Twisted, no module of the server and no framework."""
        done = python("-c", IMPORTED)
        self.assertEqual(done.stdout, "[]\n[]\n", done.stderr)

    def test_types(self) -> None:
        """mypy --strict accepts the examples, and finds a view of another event."""
        try:
            import flask  # noqa: F401
            import mypy  # noqa: F401
        except ImportError as error:
            raise SkipTest(f"{error.name} is not installed") from None
        mistake = Path(self.mktemp()).absolute().with_suffix(".py")
        mistake.write_text(MISTAKE)
        done = python(
            *("-m", "mypy", "--strict", "--no-incremental", "--config-file="),
            # Only what is ours is to be checked here.
            *("--follow-imports=silent", "--ignore-missing-imports"),
            *(str(EXAMPLES / "webhook.py"), str(mistake)),
            cwd=ROOT,
        )
        errors = [line for line in done.stdout.splitlines() if ": error:" in line]
        self.assertEqual(len(errors), 1, done.stdout + done.stderr)
        self.assertIn(mistake.name, errors[0])
        self.assertIn('"Callable[[RPCRequest], RPCResult]"', errors[0])

    def test_blocks(self) -> None:
        """The blocks of Python on the page run."""
        page = (ROOT / "docs" / "backend.rst").read_text()
        blocks = [each.text for each in blocks_of(page) if each.language == "python"]
        self.assertEqual(len(blocks), 3)
        body = b"{}"
        for block in blocks:
            headers = {"X-Centrifugo-Signature": sign(body, ["new"])}
            exec(block, {"__name__": "page", "headers": headers, "body": body})

    def test_webhook(self) -> None:
        """The example without a framework answers calls."""
        example: dict[str, Any] = {"__name__": "webhook"}
        exec((EXAMPLES / "webhook.py").read_text(), example)
        self.assertEqual(example["token_for"]("42").count("."), 2)
        heads: list[Any] = []

        def answer(body: bytes, signature: str) -> bytes:
            environ = {
                "wsgi.input": io.BytesIO(body),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_X_CENTRIFUGO_SIGNATURE": signature,
            }
            sent = example["application"](environ, lambda *head: heads.append(head))
            return b"".join(sent)

        body = b'{"user":"admin","channel":"news","data":1}'
        for secret in ("new secret", "old secret"):
            answered = json.loads(answer(body, sign(body, [secret])))
            self.assertEqual(answered, {"result": {"tags": {"by": "admin"}}})
        self.assertEqual(answer(body, "x"), b"the signature is malformed")
        self.assertEqual(
            [status for status, _ in heads], ["200 OK"] * 2 + ["403 Refused"]
        )
