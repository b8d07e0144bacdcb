"""Names of channels, and the options they lead to (permissions, "Channel names")."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access import ChannelRules, NamespaceOptions, Namespaces
from centrifugo_tx.access.namespaces import SETTLED, SETTLED_LENGTH
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import PublishOptions
from centrifugo_tx.protocol.codes import BAD_REQUEST, UNKNOWN_CHANNEL

options = NamespaceOptions

WITHOUT = options(history_size=1)
NAMED = options(history_size=2)


def names(rules: ChannelRules | None = None, **named: NamespaceOptions) -> Namespaces:
    """Return namespaces: one called ``ns``, and those given."""
    rules = rules or ChannelRules()
    return Namespaces.of(rules, WITHOUT, [("ns", NAMED), *named.items()])


class FindTests(SynchronousTestCase):
    """Which namespace a channel is in (permissions, "Channel names")."""

    def test_found(self) -> None:
        """The text before the first boundary names the namespace."""
        for channel, expected in (
            ("chat", WITHOUT),
            ("", WITHOUT),
            ("$chat", WITHOUT),
            ("ns", WITHOUT),
            (":x", WITHOUT),
            (":", WITHOUT),
            ("$:x", WITHOUT),
            ("ns:x", NAMED),
            ("ns:", NAMED),
            ("$ns:x", NAMED),
            ("ns:x:y", NAMED),
            ("ns:$x", NAMED),
        ):
            self.assertIs(names().find(channel).options, expected, channel)

    def test_unknown(self) -> None:
        """A namespace that was not configured is an unknown channel."""
        for channel in ("other:x", "$other:x", "$$ns:x", "x$ns:y", "NS:x", " ns:x"):
            error = self.assertRaises(ReplyError, names().find, channel)
            self.assertEqual(error.error, UNKNOWN_CHANNEL, channel)

    def test_no_inheritance(self) -> None:
        """A namespace starts from the defaults, not from names without namespace."""
        spaces = Namespaces.of(
            ChannelRules(), options(presence=True), [("ns", options())]
        )
        self.assertTrue(spaces.find("x").channel.presence)
        self.assertFalse(spaces.find("ns:x").channel.presence)

    def test_other_characters(self) -> None:
        """The boundary and the private prefix are configurable, and may be long."""
        rules = ChannelRules(private_prefix="priv-", namespace_boundary="::")
        spaces = names(rules)
        self.assertIs(spaces.find("priv-ns::x").options, NAMED)
        self.assertIs(spaces.find("ns:x").options, WITHOUT)
        self.assertTrue(spaces.private("priv-x"))
        self.assertFalse(spaces.private("$x"))

    def test_without_characters(self) -> None:
        """Without boundary there are no namespaces, without prefix none is private."""
        rules = ChannelRules(private_prefix="", namespace_boundary="")
        self.assertIs(names(rules).find("ns:x").options, WITHOUT)
        self.assertFalse(names(rules).private("$x"))

    def test_private(self) -> None:
        """The private prefix counts only at the start of the name."""
        for channel, private in (("$x", True), ("$ns:x", True), ("ns:$x", False)):
            self.assertEqual(names().private(channel), private, channel)


class SettledTests(SynchronousTestCase):
    """Channels that were used lately are remembered, within bounds."""

    def test_remembered(self) -> None:
        """A channel with a valid name is."""
        found = names()
        namespace = found.find("ns:a")
        self.assertIs(found.settle("ns:a", namespace), namespace)
        self.assertEqual(found.settled, {"ns:a": namespace})

    def test_invalid(self) -> None:
        """One without is refused, each time."""
        found = names()
        for _ in range(2):
            error = self.assertRaises(
                ReplyError, found.settle, "\u00e9", found.find("\u00e9")
            )
            self.assertEqual(error.error, BAD_REQUEST)
        self.assertEqual(found.settled, {})

    def test_bounds(self) -> None:
        """Long names are not, and of many names the old ones are forgotten."""
        found = names()
        namespace = found.find("a")
        found.settle("a" * (SETTLED_LENGTH + 1), namespace)
        self.assertEqual(found.settled, {})
        for number in range(SETTLED + 1):
            found.settle(f"a{number}", namespace)
            self.assertLessEqual(len(found.settled), SETTLED)
        self.assertIn(f"a{SETTLED}", found.settled)


class NameTests(SynchronousTestCase):
    """Which names are valid (permissions, "Channel names")."""

    def test_ascii(self) -> None:
        """Without regex a name is ASCII, and anything goes that is."""
        for channel, valid in (
            ("x", True),
            ("a b/c*d&e", True),
            ("x\x00\n", True),
            ("caf\u00e9", False),
            ("ns:\u4e2d", False),
        ):
            self.assertEqual(names().find(channel).valid(channel), valid, channel)

    def test_regex(self) -> None:
        """A regex replaces other rules; it is searched after the namespace."""
        spaces = names(re=options(channel_regex="^[a-z]+$"))
        for channel, valid in (
            ("re:abc", True),
            ("$re:abc", True),
            ("re:abc1", False),
            ("re:a:b", False),
            ("re:abc\n", False),
            ("re:", False),
        ):
            self.assertEqual(spaces.find(channel).valid(channel), valid, channel)

    def test_search(self) -> None:
        """A regex without anchors may match anywhere."""
        spaces = names(re=options(channel_regex="a.c"))
        for channel, valid in (("re:xaacx", True), ("re:a", False)):
            self.assertEqual(spaces.find(channel).valid(channel), valid, channel)

    def test_unicode(self) -> None:
        """A regex may allow characters outside ASCII."""
        spaces = names(re=options(channel_regex=r"^\pL+$"))
        for channel, valid in (("re:caf\u00e9", True), ("re:1", False)):
            self.assertEqual(spaces.find(channel).valid(channel), valid, channel)

    def test_no_namespace(self) -> None:
        """Without namespace the regex sees the whole name, private prefix and all."""
        without = options(channel_regex="^[a-z]+$")
        spaces = Namespaces.of(ChannelRules(), without)
        for channel, valid in (("abc", True), ("$abc", False), (":abc", True)):
            self.assertEqual(spaces.find(channel).valid(channel), valid, channel)

    def test_time(self) -> None:
        """A regex of an operator and a name of a stranger take no time to speak of."""
        spaces = names(re=options(channel_regex="^(a+)+$"))
        channel = "re:" + "a" * 5000 + "!"
        self.assertFalse(spaces.find(channel).valid(channel))


class UserLimitedTests(SynchronousTestCase):
    """Names that list their users (permissions, "User-limited channels")."""

    def test_lists(self) -> None:
        """Behind the last boundary stand the users, with separators between them."""
        spaces = names(ul=options(allow_user_limited_channels=True))
        for channel, user, listed in (
            ("ul:dialog#42,567", "42", True),
            ("ul:dialog#42,567", "567", True),
            ("ul:dialog#42,567", "4", False),
            ("ul:dialog#42,567", "42,567", False),
            ("ul:dialog#42,567", "", False),
            ("ul:a#1#2", "2", True),
            ("ul:a#1#2", "1", False),
            ("ul:a#", "", True),
            ("ul:a#1,", "", True),
            ("ul:a# 1", "1", False),
        ):
            namespace = spaces.find(channel)
            self.assertTrue(namespace.user_limited(channel), channel)
            self.assertEqual(namespace.lists(channel, user), listed, (channel, user))

    def test_detection(self) -> None:
        """A name is user-limited by its boundary, where the namespace allows that."""
        spaces = names(ul=options(allow_user_limited_channels=True))
        for channel, limited in (("ul:a", False), ("ul:#", True), ("ns:a#1", False)):
            namespace = spaces.find(channel)
            self.assertEqual(namespace.user_limited(channel), limited, channel)

    def test_other_characters(self) -> None:
        """Without a separator the rest is one user; without a boundary there is
        none.
        """
        limited = options(allow_user_limited_channels=True)
        rules = ChannelRules(user_boundary="@", user_separator="")
        namespace = Namespaces.of(rules, limited).find("")
        self.assertTrue(namespace.user_limited("a@1,2"))
        self.assertFalse(namespace.user_limited("a#1"))
        self.assertTrue(namespace.lists("a@1,2", "1,2"))
        self.assertFalse(namespace.lists("a@1,2", "1"))
        namespace = Namespaces.of(ChannelRules(user_boundary=""), limited).find("")
        self.assertFalse(namespace.user_limited("a#1"))


class OptionTests(SynchronousTestCase):
    """Values that are computed when namespaces are loaded."""

    def test_channel(self) -> None:
        """Options of the channel itself are those of its namespace."""
        given: dict[str, Any] = {
            **{"presence": True, "join_leave": True, "force_push_join_leave": True},
            **{"history_size": 3, "history_ttl": 4.0, "history_meta_ttl": 5.0},
            **{"force_positioning": True, "force_recovery": True},
            **{"delta_publish": True, "subscription_type": "stream"},
        }
        channel = names(x=options(**given)).find("x:1").channel
        for name, value in given.items():
            self.assertEqual(getattr(channel, name), value, name)

    def test_publication(self) -> None:
        """Publications get the history of the namespace, and its wish for deltas."""
        given = options(
            history_size=3, history_ttl=4.0, history_meta_ttl=5.0, delta_publish=True
        )
        self.assertEqual(
            names(x=given).find("x:1").publication,
            PublishOptions(3, 4.0, 5.0, delta=True),
        )

    def test_format(self) -> None:
        """The format of a namespace wins over the one for all."""
        rules = ChannelRules(publication_data_format="json")
        spaces = names(rules, b=options(publication_data_format="binary"))
        self.assertEqual(spaces.find("x").channel.publication_data_format, "json")
        self.assertEqual(spaces.find("b:x").channel.publication_data_format, "binary")
