"""Access control: tokens, namespaces, and the policy of the standalone server."""

from .backend_policy import NoProxies
from .connect_policy import AccessOptions
from .namespaces import ChannelRules, NamespaceOptions, Namespaces
from .policy import AccessPolicy
from .tokens import TokenOptions, TokenVerifier, static_keys

__all__ = [
    "AccessOptions",
    "AccessPolicy",
    "ChannelRules",
    "NamespaceOptions",
    "Namespaces",
    "NoProxies",
    "TokenOptions",
    "TokenVerifier",
    "static_keys",
]
