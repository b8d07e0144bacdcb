"""Which methods of clients the backend answers (permissions, "RPC and messages")."""

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["RPCRules"]


@frozen
class RPCRules:
    """The proxies of RPC methods, by the namespace in a method's name.

    A proxy is the name of one, or None where calls are not forwarded.
    """

    namespace_boundary: str = ":"
    without_namespace: str | None = None
    namespaces: Mapping[str, str | None] = field(factory=dict)

    @property
    def enabled(self) -> bool:
        """Whether any calls are forwarded."""
        proxies = (self.without_namespace, *self.namespaces.values())
        return any(name is not None for name in proxies)

    def proxy(self, method: str) -> str | None:
        """Return the proxy of *method*.

        :raises KeyError: its namespace is unknown.
        """
        boundary = self.namespace_boundary
        name, found, _ = method.partition(boundary) if boundary else ("", "", "")
        if not found or not name:
            return self.without_namespace
        return self.namespaces[name]
