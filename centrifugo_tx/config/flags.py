"""The command-line flags that set an option."""

from attrs import frozen

from .model import Config
from .schema import Option, leaves

__all__ = ["FLAGS", "Flag"]

_SHORT = {"http_server.address": "a", "http_server.port": "p"}

_PATHS = (
    *("pid_file", "workers", "http_server.address", "http_server.port"),
    *("http_server.internal_address", "http_server.internal_port"),
    *("engine.type", "broker.enabled", "broker.type"),
    *("presence_manager.enabled", "presence_manager.type", "map_broker.type"),
    *("log.level", "log.file", "debug.enabled"),
    *("admin.enabled", "admin.external", "admin.insecure"),
    *("prometheus.enabled", "swagger.enabled", "health.enabled"),
    *("uni_websocket.enabled", "uni_sse.enabled", "uni_http_stream.enabled"),
    *("sse.enabled", "http_stream.enabled", "init.enabled"),
    *("client.insecure", "http_api.insecure", "http_api.external"),
    *("grpc_api.enabled", "grpc_api.port", "uni_grpc.enabled", "uni_grpc.port"),
)


@frozen
class Flag:
    """One flag; its name is the path of the option that it sets."""

    path: str
    short: str | None
    option: Option

    @property
    def is_switch(self) -> bool:
        """Whether the flag turns the option on when it has no value."""
        return self.option.kind == "bool"

    @property
    def help(self) -> str:
        """Return the meaning of the option, and its default."""
        meaning = " ".join(self.option.meaning.split()).replace("``", "")
        if self.is_switch or not self.option.default:
            return meaning
        return f"{meaning}  [default: {self.option.default}]"


def _flags() -> tuple[Flag, ...]:
    known = dict(leaves(Config))
    return tuple(Flag(path, _SHORT.get(path), known[path]) for path in _PATHS)


FLAGS = _flags()
