"""The command that rewrites old configuration files."""

import json
import stat
from pathlib import Path

from ..test_cli import CommandCase

SECRET = "0123456789abcdef0123456789abcdef"


class ConvertTests(CommandCase):
    """Results on standard output or in a file, reports on standard error."""

    def test_output(self) -> None:
        """The result is printed in the format of the file, the report apart."""
        path = self.write({"token_hmac_secret_key": SECRET, "http_stream": True})
        printed = self.command("convertconfig", "-c", path)
        self.assertEqual(
            json.loads(printed),
            {
                "client": {"token": {"hmac_secret_key": SECRET}},
                "http_stream": {"enabled": True},
            },
        )
        self.assertEqual(
            self.complaints.splitlines(),
            [
                f"{path}: read as a file of v5 (it has http_stream, as v4 and v5 do)",
                "moved: token_hmac_secret_key -> client.token.hmac_secret_key",
                "moved: http_stream -> http_stream.enabled",
            ],
        )

    def test_file(self) -> None:
        """The result is a new file for its owner, in the format of its extension."""
        path, output = self.write({"secret": SECRET, "sockjs": True}), self.mktemp()
        output += ".yaml"
        self.assertEqual(self.command("convertconfig", "-c", path, "-o", output), "")
        self.assertEqual(stat.S_IMODE(Path(output).stat().st_mode), 0o600)
        self.assertEqual(self.command("checkconfig", "-c", output), "")
        self.assertIn("dropped: sockjs: HTTP streaming", self.complaints_of(path))
        self.command("convertconfig", "-c", path, "-o", output, code=1)

    def complaints_of(self, path: str) -> str:
        """Convert a file, and return the report."""
        self.command("convertconfig", "-c", path)
        return self.complaints

    def test_untold(self) -> None:
        """A file that does not tell its version needs --from."""
        path = self.write({"api_key": "k"})
        self.assertEqual(self.command("convertconfig", "-c", path, code=2), "")
        self.assertIn("give --from", self.complaints)
        printed = self.command("convertconfig", "-c", path, "--from", "5")
        self.assertEqual(json.loads(printed), {"http_api": {"key": "k"}})

    def test_refused(self) -> None:
        """A result that the server would refuse is written and reported."""
        path = self.write({"secret": SECRET, "engine": "tarantool"})
        printed = self.command("convertconfig", "-c", path, code=1)
        self.assertEqual(json.loads(printed)["engine"], {"type": "tarantool"})
        self.assertIn('error: engine.type: "tarantool" must be', self.complaints)

    def test_unreadable(self) -> None:
        """A missing or malformed file, or an unknown format."""
        for path in (self.mktemp() + ".json", self.mktemp() + ".ini"):
            self.command("convertconfig", "-c", path, code=2)
        path = self.mktemp() + ".json"
        Path(path).write_text("{")
        self.assertEqual(self.command("convertconfig", "-c", path, code=2), "")
        path = self.write({"secret": SECRET})
        self.command("convertconfig", "-c", path, "-o", "x.ini", code=2)
        self.assertIn("must end in one of: .json", self.complaints)

    def test_variables(self) -> None:
        """Variables are printed as shells read them."""
        path = self.mktemp()
        Path(path).write_text(f"CENTRIFUGO_SECRET={SECRET}\nCENTRIFUGO_NAME='a b'\n")
        self.assertEqual(
            self.command("convertconfig", "--env-file", path).splitlines(),
            [
                f"CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY={SECRET}",
                "CENTRIFUGO_NODE_NAME='a b'",
            ],
        )
        self.command("convertconfig", "--env-file", self.mktemp(), code=2)
