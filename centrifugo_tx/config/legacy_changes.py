"""Changes that rewriting makes to old options and to defaults of old versions.

See configuration rules, "Old channel options".
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import frozen

__all__ = ["Change", "keep_behavior", "place"]

Tree = dict[str, Any]


@frozen
class Change:
    """The outcome for one old option.

    ``explanation`` is a current path if the option has ``moved``, or is ``shadowed`` by
    the current name in the same file.  Otherwise it is a sentence: why the option is
    ``gone``, or how it was ``adapted``.
    """

    kind: Literal["moved", "shadowed", "gone", "adapted"]
    name: str
    explanation: str

    def __str__(self) -> str:
        """Return the line for the log."""
        if self.kind == "moved":
            return f"old option {self.name} is read as {self.explanation}"
        if self.kind == "shadowed":
            return f"old option {self.name} is ignored in favor of {self.explanation}"
        if self.kind == "gone":
            return (
                f"old option {self.name} no longer has any effect: {self.explanation}"
            )
        return f"{self.name}: {self.explanation}"


def place(tree: Tree, path: str, value: object) -> bool:
    """Put a value at a dotted path that is free; return whether it was free."""
    inside: Any = tree
    *parents, last = path.split(".")
    for parent in parents:
        inside = inside.setdefault(parent, {})
        if not isinstance(inside, dict):
            return False
    if last in inside:
        return False
    inside[last] = value
    return True


#: Defaults that changed: the old versions, the path, the old and the new default.
_DEFAULTS: tuple[tuple[tuple[int, ...], str, object, str], ...] = (
    ((2,), "client.queue_max_size", 10485760, "1048576"),
    ((2, 3), "client.stale_close_delay", "25s", "10s"),
    ((2,), "client.presence_update_interval", "25s", "27s"),
    ((4,), "channel.history_meta_ttl", "2160h", "720h"),
)


def keep_behavior(old: Mapping[str, Any], tree: Tree, version: int) -> Iterator[Change]:
    """Write the defaults of an old version into *tree*; report those that are lost.

    :param old: the file before it was rewritten.
    """
    for versions, path, value, now in _DEFAULTS:
        if version in versions and place(tree, path, value):
            yield Change(
                "adapted", path, f"set to {value}, the default of v{version}; now {now}"
            )
    if version == 2:
        yield from _of_v2(old, tree)
    if version in (2, 3):
        yield from _of_v3(old, tree)
    if version in (2, 3, 4):
        yield Change(
            "adapted",
            "tokens of subscriptions",
            "must name the user of the connection in sub; before v4 they named the"
            " client, and v4 could skip the check",
        )


def _of_v2(old: Mapping[str, Any], tree: Tree) -> Iterator[Change]:
    if place(tree, "client.allowed_origins", ["*"]):
        yield Change(
            "adapted",
            "client.allowed_origins",
            'set to ["*"], because v2 did not check origins; list the origins of your'
            " pages instead",
        )
    if (
        str(old.get("engine", "memory")) == "redis"
        and not old.get("redis_streams")
        and place(tree, "engine.redis.history_use_lists", True)
    ):
        yield Change(
            "adapted",
            "engine.redis.history_use_lists",
            "set to true, because v2 kept history in lists; without it, history"
            " already in Redis is lost",
        )
    if not old.get("sockjs_disable"):
        yield Change(
            "gone",
            "SockJS",
            "v2 served it by default; HTTP streaming and SSE replace it, see"
            " http_stream.enabled and sse.enabled",
        )
    yield Change(
        "adapted",
        "history calls of clients",
        "return at most client.history_max_publication_limit publications, and none"
        " without a limit; v2 returned all",
    )


def _of_v3(old: Mapping[str, Any], tree: Tree) -> Iterator[Change]:
    channel = tree.get("channel")
    if not (isinstance(channel, Mapping) and channel.get("history_meta_ttl")):
        yield Change(
            "adapted",
            "channel.history_meta_ttl",
            "before v4 positions never expired; now they expire after 720h, and"
            " returning clients cannot recover",
        )
