"""Reads proxies and consumers of v2 to v5 as current ones.

See configuration rules, "Old option names".
"""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["take_proxies", "translate_rpc_item", "translate_tls"]

Tree = dict[str, Any]

#: The default proxies; an endpoint enabled each.
_EVENTS = {
    "connect": ("client.proxy.connect", "client.proxy.connect.enabled"),
    "refresh": ("client.proxy.refresh", "client.proxy.refresh.enabled"),
    "rpc": ("rpc.proxy", "rpc.without_namespace.proxy_enabled"),
    "subscribe": ("channel.proxy.subscribe", ""),
    "publish": ("channel.proxy.publish", ""),
    "sub_refresh": ("channel.proxy.sub_refresh", ""),
    "subscribe_stream": ("channel.proxy.subscribe_stream", ""),
}

#: Settings that all proxies shared.
_SHARED = {
    "proxy_http_headers": "http_headers",
    "proxy_grpc_metadata": "grpc_metadata",
    "proxy_binary_encoding": "binary_encoding",
    "proxy_include_connection_meta": "include_connection_meta",
    "proxy_static_http_headers": "http.static_headers",
    "proxy_http_status_code_transforms": "http.status_to_code_transforms",
    "proxy_grpc_tls": "grpc.tls",
    "proxy_grpc_credentials_key": "grpc.credentials_key",
    "proxy_grpc_credentials_value": "grpc.credentials_value",
    "proxy_grpc_compression": "grpc.compression",
}

#: Headers that v2 always forwarded.
_V2_HEADERS = [
    "Origin",
    "User-Agent",
    "Cookie",
    "Authorization",
    "X-Real-Ip",
    "X-Forwarded-For",
    "X-Request-Id",
]

_INSIDE = {
    "static_http_headers": ("http", "static_headers"),
    "grpc_credentials_key": ("grpc", "credentials_key"),
    "grpc_credentials_value": ("grpc", "credentials_value"),
    "grpc_compression": ("grpc", "compression"),
}


def take_proxies(old: Tree, version: int) -> Iterator[tuple[str, str, object]]:
    """Remove the options of proxies and consumers from *old*, and translate them.

    Yields the old name, the current path, and the value for that path.  An empty path
    means that the option is gone, and the value is the reason.

    :param version: the version of the file; 0 if it is unknown.
    """
    if old.get("granular_proxy_mode"):
        for name in [name for name in old if _is_global_proxy(name)]:
            del old[name]
            yield name, "", "granular_proxy_mode makes the named proxies apply instead"
    shared = {path: old.pop(name) for name, path in _SHARED.items() if name in old}
    if "proxy_grpc_cert_file" in old:
        shared["grpc.tls"] = _certificate(old.pop("proxy_grpc_cert_file"))
    is_v2 = version in (1, 2) or "proxy_extra_http_headers" in old
    extra = old.pop("proxy_extra_http_headers", [])
    if is_v2 and "http_headers" not in shared:
        more = extra if isinstance(extra, list) else [extra]
        shared["http_headers"] = [*_V2_HEADERS, *more]
    for event, (path, switch) in _EVENTS.items():
        name = f"proxy_{event}_endpoint"
        if f"proxy_{event}_timeout" in old:
            timeout = old.pop(f"proxy_{event}_timeout")
            yield f"proxy_{event}_timeout", f"{path}.timeout", timeout
        if name not in old:
            continue
        yield name, f"{path}.endpoint", old.pop(name)
        if switch:
            yield name, switch, True
        for setting, value in shared.items():
            yield f"{name} (shared)", f"{path}.{setting}", value
    yield from _granular(old)
    if "consumers" in old:
        items = [_consumer(item) for item in old.pop("consumers")]
        yield "consumers", "consumers", items


def _is_global_proxy(name: str) -> bool:
    """Whether an option belongs to the unnamed proxies of v2 to v5."""
    return name in _SHARED or (
        name.startswith("proxy_") and name.endswith(("_endpoint", "_timeout"))
    )


def _granular(old: Tree) -> Iterator[tuple[str, str, object]]:
    """Remove named proxies from *old*, and copy the two that connections use."""
    is_on = old.pop("granular_proxy_mode", False)
    if not is_on:
        for name in ("connect_proxy_name", "refresh_proxy_name", "rpc_proxy_name"):
            if old.pop(name, None) is not None:
                yield name, "", "proxies are chosen by name only in granular_proxy_mode"
    items = [_proxy(item) for item in old.pop("proxies", [])]
    if items:
        yield "proxies", "proxies", items
    maps = [item for item in items if isinstance(item, Mapping)]
    named = {str(item.get("name")): item for item in maps}
    for event in ("connect", "refresh"):
        name = old.pop(f"{event}_proxy_name", None)
        chosen = named.get(name) if isinstance(name, str) else None
        if chosen is not None:
            proxy = {key: part for key, part in chosen.items() if key != "name"}
            proxy["enabled"] = True
            yield f"{event}_proxy_name", f"client.proxy.{event}", proxy
    if "rpc_proxy_name" in old:
        yield "rpc_proxy_name", "rpc.without_namespace.proxy_enabled", True
        name = old.pop("rpc_proxy_name")
        yield "rpc_proxy_name", "rpc.without_namespace.proxy_name", name


def _proxy(item: object) -> Any:
    if not isinstance(item, Mapping):
        return item
    found: Tree = {}
    for key, value in item.items():
        if key in _INSIDE:
            section, name = _INSIDE[key]
            found.setdefault(section, {})[name] = value
        elif key == "grpc_tls":
            found.setdefault("grpc", {})["tls"] = translate_tls(value)
        elif key == "grpc_cert_file":
            found.setdefault("grpc", {})["tls"] = _certificate(value)
        else:
            found[key] = value
    return found


def _certificate(path: object) -> Tree:
    return {"enabled": True, "server_ca_pem": path}


def _consumer(item: object) -> object:
    """Return a consumer that runs unless it is disabled, as in v5."""
    if not isinstance(item, Mapping) or "enabled" in item:
        return item
    rest = {key: value for key, value in item.items() if key != "disabled"}
    return {**rest, "enabled": not item.get("disabled", False)}


def translate_rpc_item(item: object) -> object:
    """Return an RPC namespace with current names."""
    if not isinstance(item, Mapping) or "rpc_proxy_name" not in item:
        return item
    rest = {key: value for key, value in item.items() if key != "rpc_proxy_name"}
    return {**rest, "proxy_name": item["rpc_proxy_name"], "proxy_enabled": True}


def translate_tls(value: object) -> object:
    """Return a section of v5, where PEM had three names and a file took precedence."""
    if not isinstance(value, Mapping):
        return value
    found = dict(value)
    for part in ("cert", "key", "server_ca", "client_ca"):
        sources = [
            found.pop(f"{part}_pem_file", ""),
            found.pop(f"{part}_pem_b64", ""),
            found.get(f"{part}_pem", ""),
        ]
        chosen = next(filter(None, sources), "")
        if chosen:
            found[f"{part}_pem"] = chosen
    return found
