"""Whether tokens could bend the URL of a key set.

See configuration rules, "Validation".
"""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access.url_templates import resolve, unsafe_template

URL = "https://id/{{realm}}/keys"


class TemplateTests(SynchronousTestCase):
    """URLs with placeholders."""

    def test_resolved(self) -> None:
        """Placeholders are filled, and those without value become empty."""
        for template, url in (
            ("http://id/keys", "http://id/keys"),
            ("http://id/{{a}}/{{ b }}{{c}}", "http://id/1/2"),
            ("http://{{a}}.id/{{}}{{a-b}}", "http://1.id/"),
            ("http://id/{a}/{{a", "http://id/{a}/{{a"),
        ):
            self.assertEqual(resolve(template, {"a": "1", "b": "2"}), url)

    def test_safe(self) -> None:
        """Literals and alternatives of them cannot be bent."""
        for pattern in (
            "",
            "^https://(?P<realm>a|b)$",
            "^https://(?<realm>a|b)$",
            r"^https://(?P<realm>a\.b|c\+d\*)$",
            "(?P<realm>a(b|c)d|)",
            "(?i)(?P<realm>a(?:b|c)|(?s:d))",
            "(?P<realm>a|b)+",
            "(?P<other>.*)/(?P<realm>a)",
            "^.*$",
            r"\(?P<realm>.*",
            r"\[(?P<realm>a)\]",
            r"(?P<realm>a\\d)",
        ):
            self.assertEqual(unsafe_template(URL, [pattern]), "", pattern)

    def test_unsafe(self) -> None:
        """Whatever else fills a placeholder can; so may any character class."""
        for pattern in (
            "(?P<realm>.*)",
            "(?<realm>.*)",
            "(?P<realm>a+)",
            "(?P<realm>a?)",
            "(?P<realm>a{2})",
            "(?P<realm>^a)",
            "(?P<realm>a$)",
            "(?P<realm>a(b|c.))",
            "(?P<realm>a(?:b)+c)",
            "(?P<realm>(?P<inner>.))",
            r"(?P<realm>a\\.b)",
            r"(?P<realm>\Q)\E.*)",
            r"(?P<realm>\C)",
            "[a-z](?P<realm>a)",
            r"\d(?P<realm>a)",
            r"\pL(?P<realm>a)",
            r"\W",
            r"\\[a]",
        ):
            self.assertNotEqual(unsafe_template(URL, ["", pattern]), "", pattern)

    def test_no_placeholder(self) -> None:
        """Without placeholders any pattern is safe."""
        self.assertEqual(unsafe_template("https://id/keys", ["^[a-z].*$"]), "")
        self.assertEqual(unsafe_template("", [r"\d"]), "")
