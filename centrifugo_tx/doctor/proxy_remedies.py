"""The settings of proxies that remedies name; docs/proxies.rst has whole files."""

__all__ = ["NO_BUFFERING", "PASS_IDLE", "PASS_ORIGIN", "PASS_PATH", "PASS_UPGRADE"]

PASS_UPGRADE = (
    "let the proxy pass the upgrade; nginx: proxy_http_version 1.1;"
    " proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
)
NO_BUFFERING = (
    "turn buffering and compression off for /connection/; nginx: proxy_buffering off;"
    " gzip off;"
)
PASS_PATH = "let the proxy pass /connection/ and /emulation to the server"
PASS_IDLE = (
    "raise the idle timeout of the proxy above client.ping_interval; nginx:"
    " proxy_read_timeout 60s;"
)
PASS_ORIGIN = "let the proxy pass the Origin header as it comes"
