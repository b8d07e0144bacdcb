"""Tests of the rooms of with_authentication.py: run them with pytest."""

import pytest
from with_authentication import NOT_LOGGED_IN, Rooms

from centrifugo_tx import DisconnectClient, ReplyError
from centrifugo_tx.testing import FakeClient, MemoryNode, result_of


def test_strangers_cannot_connect():
    """A client without a session is disconnected, and stays away."""
    world = MemoryNode(Rooms())
    stranger = FakeClient(world.node)
    with pytest.raises(DisconnectClient):
        stranger.connect(token="guessed")
    assert stranger.disconnected == NOT_LOGGED_IN


def test_only_the_owner_writes():
    """Bob reads what Ann writes into her room, but cannot write there."""
    world = MemoryNode(Rooms())
    ann, bob = world.client("secret-of-ann"), world.client("secret-of-bob")
    bob.subscribe("room:ann")
    ann.publish("room:ann", {"text": "welcome"})
    (publication,) = bob.publications("room:ann")
    assert publication.data == {"text": "welcome"}
    assert publication.info.conn_info == {"name": "Ann"}
    with pytest.raises(ReplyError):
        bob.publish("room:ann", {"text": "mine"})


def test_the_application_publishes():
    """The verbs of the node return Deferreds, which have fired."""
    world = MemoryNode(Rooms())
    bob = world.client("secret-of-bob")
    bob.subscribe("news")
    result_of(world.node.publish("news", {"text": "hello"}))
    assert [each.data["text"] for each in bob.publications("news")] == ["hello"]


def test_time_passes():
    """A client gets pings while the test lets time pass."""
    world = MemoryNode(Rooms())
    ann = world.client("secret-of-ann")
    world.advance(60)
    assert ann.pings == 2
