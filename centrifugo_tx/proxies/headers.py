"""The headers of a call that come from the client (event proxies, "HTTP requests")."""

from collections.abc import Iterable, Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..bounded_log import BoundedLog
from ..options import TransportInfo
from .client import Forwarded
from .options import ProxyOptions

__all__ = ["EmulatedHeaders", "HeaderRules"]

#: Transports whose requests have metadata in place of headers.
_GRPC = ("uni_grpc",)
#: Seconds between two lines about headers that are not forwarded.
_HINT_INTERVAL = 60.0
#: Names of a hint that are written.
_HINT_NAMES = 10


@define(eq=False)
class HeaderRules:
    """Selects the headers that one proxy forwards.

    A transport header comes before an emulated one of the same name.
    """

    _options: ProxyOptions
    _headers: tuple[str, ...] = field(init=False)
    _emulated: tuple[str, ...] = field(init=False)
    _metadata: tuple[str, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        options = self._options
        self._headers = tuple(map(str.lower, options.http_headers))
        self._emulated = tuple(map(str.lower, options.emulated_headers))
        # Metadata keys are compared as they are written.
        self._metadata = options.grpc_metadata

    def select(self, info: TransportInfo, emulated: Mapping[str, str]) -> Forwarded:
        """Return the headers to forward.

        :param emulated: headers of the connect command, by lower-case name.
        """
        found: dict[str, tuple[str, ...]] = {}
        if emulated:
            for name in self._emulated:
                if name in emulated:
                    found[name] = (emulated[name],)
        given = info.headers
        if given:
            for name in self._metadata if info.name in _GRPC else self._headers:
                if name in given:
                    found[name] = given[name]
        return found


@define(eq=False)
class EmulatedHeaders:
    """Reads the headers that clients emulate in their connect commands."""

    _clock: IReactorTime
    _proxies: Iterable[ProxyOptions]
    _kept: frozenset[str] = field(init=False)
    _hinted: frozenset[str] = field(init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        proxies = list(self._proxies)
        self._kept = frozenset(
            name.lower() for each in proxies for name in each.emulated_headers
        )
        listed = {name.lower() for each in proxies for name in each.http_headers}
        self._hinted = frozenset(listed - self._kept)
        self._log = BoundedLog(Logger(), self._clock, burst=1, interval=_HINT_INTERVAL)

    def keep(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return those that any proxy forwards, by lower-case name."""
        if not given or not (self._kept or self._hinted):
            return {}
        lowered = {name.lower(): value for name, value in given.items()}
        dropped = sorted(self._hinted & lowered.keys())
        if dropped:
            self._log.info(
                "emulated headers listed in http_headers, not in emulated_headers, are"
                " not forwarded",
                headers=", ".join(dropped[:_HINT_NAMES]),
            )
        return {name: lowered[name] for name in lowered.keys() & self._kept}

    def stop(self) -> None:
        """Log what was left out so far."""
        self._log.flush()
