"""Hub, clients, channels and the node: everything that decides, and no network."""

from .client import Client
from .driver import drive
from .emulation import UnknownNode
from .journal import Journal, journal_for
from .node import Node
from .peers import NodeInfo, SurveyFailed
from .policy import Policy

__all__ = [
    "Client",
    "Journal",
    "Node",
    "NodeInfo",
    "Policy",
    "SurveyFailed",
    "UnknownNode",
    "drive",
    "journal_for",
]
