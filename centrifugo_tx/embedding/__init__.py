"""The node as a library: its verbs, its policy, and the values that it returns."""

from .async_node import AsyncNode
from .json_values import from_json, to_json
from .node import Node, SurveyHandler
from .policy import Policy
from .results import (
    ClientInfo,
    History,
    MapChanges,
    MapEntry,
    MapState,
    MapUpdate,
    Publication,
    PublishResult,
)

__all__ = [
    "AsyncNode",
    "ClientInfo",
    "History",
    "MapChanges",
    "MapEntry",
    "MapState",
    "MapUpdate",
    "Node",
    "Policy",
    "Publication",
    "PublishResult",
    "SurveyHandler",
    "from_json",
    "to_json",
]
