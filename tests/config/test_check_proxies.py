"""Rules of proxies, and of the places that name them."""

from typing import Any

from centrifugo_tx.config.check import warnings
from centrifugo_tx.config.check_proxies import proxy_warnings

from .test_check import CheckCase, channel, config_of, nested

URL = "http://localhost/"


def named(**options: Any) -> dict[str, Any]:
    """Return a configuration with one named proxy."""
    return {"proxies": [{"name": "own", "endpoint": URL, **options}]}


class ProxyOptionTests(CheckCase):
    """The options of one proxy."""

    def wrong(self, problem: str, **options: Any) -> None:
        """Make sure that options of a proxy are refused so."""
        self.assertProblem(named(**options), f"proxies.[0].{problem}")

    def test_endpoint(self) -> None:
        """An endpoint is a URL, or leads to gRPC."""
        for endpoint in (
            *("http://a", "https://a:1/b?c=d", "http://[::1]:80/", "grpc://a:1", "a:1"),
            "http+unix://%2Frun%2Fapp.sock/rpc",
        ):
            self.assertFine(named(endpoint=endpoint))
        for endpoint, said in (
            ("", "endpoint: must be set"),
            ("http://", "endpoint: 'http://' must be a URL with a host"),
            ("http://a b/", "endpoint: 'http://a b/' must be a URL"),
            ("http://a:x/", "endpoint: 'http://a:x/' must be a URL"),
            ("http+unix:///run/a", "endpoint: 'http+unix:///run/a' must hold"),
            ("http+unix://app/a", "endpoint: 'http+unix://app/a' must hold"),
        ):
            self.wrong(said, endpoint=endpoint)

    def test_limits(self) -> None:
        """A call has time, and a place."""
        # Zero means the default, as everywhere.
        self.assertFine(named(timeout="0s", max_concurrent_calls=0))
        self.wrong("timeout: -1s must be greater than 0", timeout="-1s")
        self.wrong("max_concurrent_calls: -1 must be at", max_concurrent_calls=-1)
        self.wrong("max_queued_calls: -1 must be at least 1", max_queued_calls=-1)

    def test_headers(self) -> None:
        """Header names and values must be valid in a request."""
        self.wrong("http_headers.[1]: 'a b' must be", http_headers=["a", "a b"])
        self.wrong("emulated_headers.[0]: '' must be", emulated_headers=[""])
        for headers, said in (
            ({"a:": "b"}, "'a:' must be the name of a header"),
            ({"a": "b\r\nc: d"}, "a: must have no control characters"),
        ):
            http = {"static_headers": headers}
            self.wrong(f"http.static_headers: {said}", http=http)

    def test_signature(self) -> None:
        """A secret is not empty."""
        http = {"signature": {"secrets": ["a", ""]}}
        self.wrong("http.signature.secrets.[1]: must not be empty", http=http)

    def test_tls(self) -> None:
        """Certificates can be read."""
        broken = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"
        for option in ("server_ca_pem", "cert_pem"):
            tls = {"enabled": True, option: broken}
            self.wrong("http.tls: ", http={"tls": tls})


class ReferenceTests(CheckCase):
    """The places that name a proxy."""

    def test_unknown(self) -> None:
        """A name must be that of a proxy, even where it is not enabled."""
        for tree, path in (
            *(
                (channel(**{f"{event}_proxy_name": "x"}), f"{event}_proxy_name")
                for event in ("subscribe", "publish", "sub_refresh", "subscribe_stream")
            ),
            (channel(map={"publish_proxy_name": "x"}), "map.publish_proxy_name"),
            (channel(map={"remove_proxy_name": "x"}), "map.remove_proxy_name"),
            (channel(shared_poll={"proxy_name": "x"}), "shared_poll.proxy_name"),
        ):
            problem = f"channel.without_namespace.{path}: 'x' does not exist"
            self.assertProblem(tree, problem)
        namespaces = [{"name": "rr", "proxy_name": "x"}]
        self.assertProblem(
            {"rpc": {"namespaces": namespaces}},
            "rpc.namespaces.[0].proxy_name: 'x' does not exist",
        )

    def test_default(self) -> None:
        """The proxy of an event is checked when the event is enabled, and only once."""
        for tree, path in (
            *(
                (
                    channel(**{f"{event}_proxy_enabled": True}),
                    f"channel.proxy.{event}",
                )
                for event in ("subscribe", "publish", "sub_refresh")
            ),
            (nested("rpc.without_namespace.proxy_enabled", True), "rpc.proxy"),
            (nested("client.proxy.refresh.enabled", True), "client.proxy.refresh"),
        ):
            self.assertProblem(tree, f"{path}.endpoint: must be set")
        both = channel(publish_proxy_enabled=True)
        both["channel"]["namespaces"] = [{"name": "nn", "publish_proxy_enabled": True}]
        self.assertProblem(both, "channel.proxy.publish.endpoint: must be set")
        self.assertFine(nested("channel.proxy.publish.timeout", "0s"))


class WarningTests(CheckCase):
    """Proxies without use, and names without effect."""

    def test_warnings(self) -> None:
        """Each is a line; a configuration that uses its proxies has none."""
        used = {
            **named(),
            **channel(publish_proxy_enabled=True, publish_proxy_name="own"),
        }
        self.assertEqual(list(proxy_warnings(config_of(used))), [])
        del used["channel"]["without_namespace"]["publish_proxy_enabled"]
        found = [
            "channel.without_namespace.publish_proxy_name: 'own' has no effect, since"
            " it is not enabled",
            "proxies.[0]: nothing uses the proxy 'own'",
        ]
        config = config_of(used)
        self.assertEqual(list(proxy_warnings(config)), found)
        self.assertEqual(set(found) - set(warnings(config)), set())

    def test_default(self) -> None:
        """An endpoint for an event that nothing enables is a line, too."""
        for path in (
            *("client.proxy.connect", "channel.proxy.subscribe", "rpc.proxy"),
            "channel.proxy.shared_poll_refresh",
        ):
            config = config_of(nested(f"{path}.endpoint", URL))
            line = f"{path}.endpoint: nothing uses this proxy"
            self.assertEqual(list(proxy_warnings(config)), [line])
