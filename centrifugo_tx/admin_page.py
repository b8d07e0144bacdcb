"""The admin page of one server, put together."""

from typing import Any

from attrs import define, field

from .admin import AdminEndpoints, Inspector
from .api import Api
from .api.http import BODY_LIMIT, keyless_legacy_handler
from .config.model import Config
from .core import Node
from .transports.response_body import body_of
from .web.site import Endpoints

__all__ = ["AdminPage"]


@define(eq=False)
class AdminPage:
    """Answers other nodes' questions in any case; serves the page if it is enabled."""

    _reactor: Any
    _config: Config
    _node: Node
    inspector: Inspector = field(init=False)
    _endpoints: AdminEndpoints | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.inspector = Inspector(self._node)
        options = self._config.admin
        if options.enabled:
            api = keyless_legacy_handler(Api(self._node))
            self._endpoints = AdminEndpoints(
                *(self._reactor, options, self._node, self.inspector, api, body_of)
            )

    def endpoints(self) -> Endpoints | None:
        """Return the endpoints of the page; None if it is not enabled."""
        page = self._endpoints
        if page is None:
            return None
        handlers = page.handlers()
        limits = {page.api_path: BODY_LIMIT}
        route = f"{self._config.admin.handler_prefix.rstrip('/')}/".encode()
        return Endpoints({}, handlers, page.streams(), limits, page.tree(), route)

    def start(self) -> None:
        """Begin to measure; call it when the node has started."""
        self.inspector.start()

    def stop(self) -> None:
        """End the responses that viewers follow; call it before the node is stopped."""
        self.inspector.stop()
        if self._endpoints is not None:
            self._endpoints.feeds.stop()
