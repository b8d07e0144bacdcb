"""The core: hub, channels, clients and the node, independent of the network."""

from .channel.watching import Watcher
from .cluster.emulation import UnknownNode
from .cluster.peers import NodeInfo
from .cluster.surveys import SurveyFailed
from .node import Node
from .run_or_defer import run_or_defer, waits, when_known
from .session.client import Client
from .session.journal import Journal, journal_for

__all__ = [
    "Client",
    "Journal",
    "Node",
    "NodeInfo",
    "SurveyFailed",
    "UnknownNode",
    "Watcher",
    "journal_for",
    "run_or_defer",
    "waits",
    "when_known",
]
