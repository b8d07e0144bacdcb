"""The OpenAPI document of the HTTP API, made from the table of methods.

Paths are relative to the server of the document (OpenAPI Specification 3.1).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from . import api_messages as m
from .api import Method
from .methods import IN_BATCH, METHODS

__all__ = ["EXAMPLES", "openapi"]

_JSON = "application/json"
_REFERENCE = "#/components/schemas/"

#: What each method does, and a request that shows it.
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "publish": (
        "Publish into a channel",
        {"channel": "news", "data": {"text": "Hello"}},
    ),
    "broadcast": (
        "Publish the same data into several channels",
        {"channels": ["news", "sport"], "data": {"text": "Hello"}},
    ),
    "subscribe": (
        "Subscribe the connections of a user to a channel",
        {"channel": "news", "user": "42"},
    ),
    "unsubscribe": (
        "Unsubscribe the connections of a user from a channel",
        {"channel": "news", "user": "42"},
    ),
    "disconnect": (
        "Close the connections of a user",
        {"user": "42", "disconnect": {"code": 4500, "reason": "bye"}},
    ),
    "refresh": (
        "Change when the connections of a user expire",
        {"user": "42", "expire_at": 2000000000},
    ),
    "history": (
        "Read the publications of a channel",
        {"channel": "news", "limit": 10, "reverse": True},
    ),
    "history_remove": (
        "Remove the publications of a channel",
        {"channel": "news"},
    ),
    "presence": ("List the clients in a channel", {"channel": "news"}),
    "presence_stats": (
        "Count the clients and users in a channel",
        {"channel": "news"},
    ),
    "receipts": (
        "List which users have received a publication",
        {"channel": "news", "offset": 1, "limit": 100},
    ),
    "channels": (
        "List the channels that have subscribers",
        {"pattern": "news*"},
    ),
    "info": ("List the nodes of the cluster", {}),
    "rpc": ("Call an extension of the server", {"method": "name", "params": {}}),
    "batch": (
        "Run several commands in one request",
        {
            "commands": [
                {"publish": {"channel": "news", "data": {"text": "Hello"}}},
                {"presence_stats": {"channel": "news"}},
            ],
            "parallel": True,
        },
    ),
    "map_publish": (
        "Set a key of a map",
        {"channel": "board:1", "key": "score", "data": {"points": 7}},
    ),
    "map_remove": (
        "Remove a key of a map",
        {"channel": "board:1", "key": "score"},
    ),
    "map_read_state": (
        "Read the entries of a map",
        {"channel": "board:1", "limit": 100},
    ),
    "map_read_stream": (
        "Read the changes of a map",
        {"channel": "board:1", "limit": 100},
    ),
    "map_stats": ("Count the keys of a map", {"channel": "board:1"}),
    "map_clear": ("Remove all keys of a map", {"channel": "board:1"}),
    "shared_poll_publish": (
        "Publish a newer version of a polled key",
        {"channel": "prices:all", "key": "EUR", "data": {"rate": 1.1}, "version": 2},
    ),
}


def openapi(release: str, server: dict[str, Any], insecure: bool) -> dict[str, Any]:
    """Return the document.

    :param release: the version of this server.
    :param server: the API's location, an OpenAPI Server Object.
    :param insecure: whether the API is served without a key.
    """
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Centrifugo server API",
            "description": "The methods that a backend calls over HTTP.",
            "version": release,
        },
        "servers": [server],
        "paths": {f"/{each.name}": {"post": _operation(each)} for each in _ordered()},
        "components": {"schemas": _schemas()},
    }
    if not insecure:
        key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        document["components"]["securitySchemes"] = {"key": key}
        document["security"] = [{"key": []}]
    return document


def _ordered() -> list[Method]:
    return [METHODS[name] for name in EXAMPLES]


def _operation(method: Method) -> dict[str, Any]:
    summary, example = EXAMPLES[method.name]
    request = {"schema": _reference(method.request), "example": example}
    return {
        "operationId": method.name,
        "summary": summary,
        "parameters": [_ERROR_MODE],
        "requestBody": {"required": True, "content": {_JSON: request}},
        "responses": {
            "200": _answer("A result, or an error of the API", _response(method)),
            "400": {"description": "The body is not a request of this method"},
            "401": {"description": "The key is missing or wrong"},
            "default": _answer(
                "An error of the API, in the error mode transport", _reference(m.Error)
            ),
        },
    }


_ERROR_MODE = {
    "name": "X-Centrifugo-Error-Mode",
    "in": "header",
    "description": "With transport, errors of the API have HTTP statuses.",
    "schema": {"type": "string", "enum": ["transport"]},
}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _response(method: Method) -> dict[str, Any]:
    if method.name == "batch":
        return {"$ref": f"{_REFERENCE}BatchResult"}
    error, result = _reference(m.Error), _reference(method.result)
    return {
        "oneOf": [
            _object({"result": result}, ["result"]),
            _object({"error": error}, ["error"]),
        ]
    }


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def _reference(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": f"{_REFERENCE}{struct.__name__}"}


# --- Schemas ----------------------------------------------------------------------


def _schemas() -> dict[str, Any]:
    """Return a schema of each message by name."""
    roots: list[type[Any]] = [m.Error]
    for method in METHODS.values():
        roots.append(method.request)
        if method.name != "batch":
            roots.append(method.result)
    found: dict[str, Any] = {}
    for kind in inspect.multi_type_info(roots):
        found.update(_structs(kind, found))
    replies = {name: _reference(each.result) for name, each in IN_BATCH.items()}
    reply = _object({"error": _reference(m.Error), **replies}, [])
    reply["description"] = "The result of a command by its method, or an error."
    found["Reply"] = reply
    found["BatchResult"] = _object(
        {"replies": {"type": "array", "items": {"$ref": f"{_REFERENCE}Reply"}}},
        ["replies"],
    )
    return dict(sorted(found.items()))


def _structs(kind: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of the structs in *kind* that are not *known* yet."""
    found: dict[str, Any] = {}
    for struct in _structs_in(kind):
        name = struct.cls.__name__
        if name in known or name in found:
            continue
        properties = {
            each.encode_name: _schema(each.type, _is_bytes(each))
            for each in struct.fields
        }
        required = [each.encode_name for each in struct.fields if each.required]
        found[name] = _object(properties, required)
        for each in struct.fields:
            found.update(_structs(each.type, {**known, **found}))
    return found


def _structs_in(kind: Any) -> Iterator[inspect.StructType]:
    if isinstance(kind, inspect.StructType):
        yield kind
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _structs_in(each)
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType):
        yield from _structs_in(kind.item_type)
    elif isinstance(kind, inspect.DictType):
        yield from _structs_in(kind.value_type)


def _is_bytes(field: inspect.Field) -> bool:
    return field.encode_name.startswith("b64")


def _schema(kind: Any, base64: bool = False) -> dict[str, Any]:
    """Return the schema of a field; a payload is any JSON value."""
    match kind:
        case inspect.RawType():
            return {"description": "Any JSON value."}
        case inspect.StrType():
            encoded = {"contentEncoding": "base64"} if base64 else {}
            return {"type": "string", **encoded}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.FloatType():
            return {"type": "number"}
        case inspect.IntType():
            bounds = {"minimum": kind.ge, "maximum": kind.le}
            given = {name: value for name, value in bounds.items() if value is not None}
            return {"type": "integer", **given}
        case inspect.StructType():
            return _reference(kind.cls)
        case inspect.ListType() | inspect.VarTupleType():
            return {"type": "array", "items": _schema(kind.item_type)}
        case inspect.DictType():
            return {
                "type": "object",
                "additionalProperties": _schema(kind.value_type),
            }
        case inspect.UnionType():
            (only,) = [t for t in kind.types if not isinstance(t, inspect.NoneType)]
            return _schema(only)
    raise TypeError(f"no schema for {kind!r}")
