"""Reads channel options of v1 to v5 as current ones.

See configuration rules, "Old channel options".
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from attrs import define, field

from ..access.namespaces import NamespaceOptions
from .legacy_changes import Change

__all__ = ["ChannelRules", "channel_options", "permissions_were_open", "today"]

_RENAMED = {
    "history_lifetime": "history_ttl",
    "history_recover": "force_recovery",
    "recover": "force_recovery",
    "position": "force_positioning",
    "proxy_subscribe": "subscribe_proxy_enabled",
    "proxy_publish": "publish_proxy_enabled",
    "proxy_sub_refresh": "sub_refresh_proxy_enabled",
    "proxy_subscribe_stream": "subscribe_stream_proxy_enabled",
    "proxy_subscribe_stream_bidirectional": "subscribe_stream_proxy_bidirectional",
}

#: Options that appear only in the rewritten permissions.
_OPEN = [
    "publish",
    "subscribe_to_publish",
    "anonymous",
    "protected",
    "server_side",
    "client_anonymous",
    "presence_disable_for_client",
    "history_disable_for_client",
]

#: Options by which a file of v1 to v3 is recognized.
_SIGNS = frozenset(
    {"secret", "history_lifetime", "history_recover", "recover", "position", *_OPEN}
)

_NAMED_PROXIES = ("subscribe", "publish", "sub_refresh", "subscribe_stream")


def today(name: str) -> str:
    """Return the current name of a channel option; empty if it became permissions."""
    return "" if name in _OPEN else _RENAMED.get(name, name)


@cache
def channel_options() -> frozenset[str]:
    """Return all names that a channel option ever had, current and old."""
    today = set(NamespaceOptions.__struct_fields__) - {"map", "shared_poll"}
    # The only one of these options that is not a channel option.
    return frozenset(today | set(_RENAMED) | set(_OPEN) - {"client_anonymous"})


def permissions_were_open(tree: Mapping[str, Any]) -> bool:
    """Whether a file is of v1 to v3, judged by its options."""
    items = tree.get("namespaces")
    names = set(tree)
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping):
            names |= {str(key).lower() for key in item}
    return bool(names & _SIGNS)


@define
class ChannelRules:
    """The rules for reading the channel options of one file.

    ``were_open``: the file is of v1 to v3, when channels were open by default.
    ``granular``: namespaces choose their proxies by name.
    """

    were_open: bool
    granular: bool = False
    #: Changes other than simple renames.
    changes: list[Change] = field(factory=list)

    def translate_item(self, item: object) -> object:
        """Return a namespace with current names."""
        if not isinstance(item, Mapping):
            return item
        options = {str(key).lower(): value for key, value in item.items()}
        name = options.pop("name", "")
        return {"name": name, **self.translate(options, f"namespace {name}: ")}

    def translate(self, old: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """Return channel options with current names.

        :param where: the prefix of names in ``changes``.
        """
        found: dict[str, Any] = {}
        left_out = self._ineffective(old)
        self.changes += [
            Change("gone", where + name, why) for name, why in left_out.items()
        ]
        for name, value in old.items():
            if name in _OPEN or name in left_out:
                continue
            new = today(name)
            if where and new != name:
                self.changes.append(Change("moved", where + name, new))
            if new.endswith("_ttl") and isinstance(value, (int, float)):
                value = f"{value}s"
            found.setdefault(new, value)
        for event in _NAMED_PROXIES:
            if found.get(f"{event}_proxy_name"):
                found.setdefault(f"{event}_proxy_enabled", True)
        if self.were_open:
            granted = _permissions(old, found)
            added = ", ".join(name for name in granted if name not in found)
            self.changes.append(
                Change(
                    "adapted",
                    f"{where}permissions",
                    f"before v4 channels were open by default; to keep them open:"
                    f" {added}",
                )
            )
            found = {**granted, **found}
        return found

    def _ineffective(self, old: Mapping[str, Any]) -> dict[str, str]:
        """Return the options that had no effect in the file's version, with the
        reasons.
        """
        found = {}
        for event in _NAMED_PROXIES:
            named, plain = f"{event}_proxy_name", f"proxy_{event}"
            if (
                named in old
                and not self.granular
                and f"{event}_proxy_enabled" not in old
            ):
                found[named] = (
                    "proxies are chosen by name only with granular_proxy_mode"
                )
            if plain in old and self.granular:
                found[plain] = f"with granular_proxy_mode, {named} decides"
        if self.were_open and old.get("proxy_publish") and not old.get("publish"):
            found["proxy_publish"] = "before v4 it required publish, which is off"
        return found


def _permissions(old: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the permissions that v1 to v3 granted by default."""
    closed = bool(old.get("protected") or old.get("server_side"))
    publish = bool(old.get("publish"))
    narrow = bool(old.get("subscribe_to_publish"))
    presence = bool(old.get("presence")) and not old.get("presence_disable_for_client")
    history = bool(found.get("history_size") and found.get("history_ttl"))
    history = history and not old.get("history_disable_for_client")
    granted = {
        "allow_user_limited_channels": True,
        "allow_subscribe_for_client": not closed,
        "allow_subscribe_for_anonymous": bool(old.get("anonymous")) and not closed,
        "allow_publish_for_client": publish and not narrow,
        "allow_publish_for_subscriber": publish and narrow,
        "allow_publish_for_anonymous": publish,
        "allow_presence_for_subscriber": presence,
        "allow_presence_for_anonymous": presence,
        "allow_history_for_subscriber": history,
        "allow_history_for_anonymous": history,
        "force_push_join_leave": bool(old.get("join_leave")),
    }
    return {name: True for name, given in granted.items() if given}
