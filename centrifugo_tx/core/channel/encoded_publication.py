"""The forms in which one publication travels (client protocol, "Deltas")."""

from collections.abc import Sequence

from attrs import define, field
from msgspec.structs import replace

from ...errors import EncodeError
from ...protocol.messages import EMPTY, Payload, Publication, Push
from ...protocol.payloads import is_binary
from ...protocol.wire import Wire
from .deltas import Between, difference

__all__ = ["EncodedPublication", "delta_chain", "full"]


@define(eq=False)
class EncodedPublication:
    """One publication into one channel, in every form in which it is sent.

    Each form is made once, when it is first needed; all wires share one delta.
    ``previous`` is the predecessor in the stream, if deltas are possible, and
    ``between`` makes the delta.
    """

    channel: str
    publication: Publication
    previous: Publication | None = None
    between: Between = difference
    _delta: bytes | None = field(default=None, init=False)
    _compared: bool = field(default=False, init=False)
    _raw: Push | None = field(default=None, init=False)
    _full: Push | None = field(default=None, init=False)
    _deltas: dict[str, Push] = field(factory=dict, init=False)

    def raw(self, wire: Wire) -> Push:
        """Return the publication as it was published."""
        if self._raw is None:
            self._raw = Push(channel=self.channel, pub=self.publication)
        return self._raw

    def full(self, wire: Wire) -> Push:
        """Return the full publication for a subscriber with deltas.

        :raises EncodeError: *wire* cannot encode it.
        """
        if wire.protocol != "json":
            return self.raw(wire)
        if self._full is None:
            self._full = self._push(full(self.publication, wire))
        return self._full

    def delta(self, wire: Wire) -> Push:
        """Return the delta to the previous publication; in full if that is shorter.

        :raises EncodeError: *wire* cannot encode it.
        """
        if not self.has_delta:
            return self.full(wire)
        known = self._deltas.get(wire.protocol)
        if known is None:
            assert self._delta is not None
            change = _change(self.publication, self._delta, wire)
            known = self._deltas[wire.protocol] = self._push(change)
        return known

    @property
    def has_delta(self) -> bool:
        """Whether there is a delta, and it is shorter than the publication."""
        if not self._compared:
            self._compared = True
            if self.previous is not None:
                self._delta = self.between(self.previous, self.publication)
        return self._delta is not None

    def _push(self, publication: Publication) -> Push:
        return Push(channel=self.channel, pub=publication)


def delta_chain(
    publications: Sequence[Publication], wire: Wire, between: Between
) -> list[Publication]:
    """Return the first in full, each of the others as a delta to the one before.

    In a map that goes for each key; nothing is compared with a removal.

    :raises EncodeError: *wire* cannot encode one of them.
    """
    given: list[Publication] = []
    newest: dict[str, Publication] = {}
    for publication in publications:
        previous = newest.get(publication.key)
        delta = None
        if previous is not None and not previous.removed:
            delta = between(previous, publication)
        given.append(
            full(publication, wire)
            if delta is None
            else _change(publication, delta, wire)
        )
        newest[publication.key] = publication
    return given


def full(publication: Publication, wire: Wire) -> Publication:
    """Return the full *publication* for a subscriber with deltas.

    :raises EncodeError: *wire* cannot encode it.
    """
    holds_nothing = publication.key and publication.data is EMPTY
    if wire.protocol != "json" or holds_nothing:
        return publication
    _check(publication)
    return _restated(publication, wire.quote(bytes(publication.data)))


def _change(publication: Publication, delta: bytes, wire: Wire) -> Publication:
    if wire.protocol == "json":
        _check(publication)
    return _restated(publication, wire.quote(delta), delta=True)


def _check(publication: Publication) -> None:
    """Refuse a payload that the client could not parse after applying the delta."""
    if publication.data is EMPTY or is_binary(publication.data):
        raise EncodeError("a payload is no JSON")


def _restated(
    publication: Publication, data: Payload, delta: bool = False
) -> Publication:
    """Return *publication* with other data, without epoch and time.

    So does the version, but for a polled key, which it belongs to.
    """
    return replace(
        publication,
        data=data,
        delta=delta,
        time=0,
        epoch="",
        version=publication.version if publication.key else 0,
    )
