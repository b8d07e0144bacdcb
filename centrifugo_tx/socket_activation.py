"""Listening sockets that systemd holds and hands over (sd_listen_fds(3))."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from twisted.internet.endpoints import serverFromString

from .errors import ConfigError

__all__ = ["inherited_listeners", "match_listeners"]

#: Host and port.
Address = tuple[str, int]


def inherited_listeners(
    reactor: object, addresses: Iterable[Address]
) -> Mapping[Address, int]:
    """Return the descriptors that systemd passes, by the address they serve.

    :raises ConfigError: a descriptor is not a TCP listener of one of *addresses*.
    """
    return match_listeners(_descriptors(reactor), addresses)


def _descriptors(reactor: object) -> Iterator[int]:
    """Yield the descriptors that Twisted has found in the environment, and removed from
    it.
    """
    for index in count():
        try:
            endpoint = serverFromString(reactor, f"systemd:domain=INET:index={index}")
        except IndexError:
            return
        yield endpoint.fileno


def match_listeners(
    descriptors: Iterable[int], addresses: Iterable[Address]
) -> Mapping[Address, int]:
    """Return each descriptor by the address that it serves.

    Child processes do not inherit the descriptors by themselves.

    :raises ConfigError: a descriptor is not a TCP listener of one of *addresses*.
    """
    wanted = list(dict.fromkeys(addresses))
    found: dict[Address, int] = {}
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        # Of a shared listener, another process may have taken the connection.
        os.set_blocking(descriptor, False)
        bound = _bound_to(descriptor)
        matching = [each for each in wanted if _matches(each, bound)]
        if not matching:
            choice = " or ".join(f"{host}:{port}" for host, port in wanted)
            raise ConfigError(
                f"socket from systemd: {bound[0]}:{bound[1]} is no address of this"
                f" server, set ListenStream= to {choice}"
            )
        found[matching[0]] = descriptor
    return found


def _bound_to(descriptor: int) -> Address:
    """Return host and port of a TCP listener."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as bound:
            listens = bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            families = socket.AF_INET, socket.AF_INET6
            if listens and bound.family in families:
                host, port = bound.getsockname()[:2]
                return host, port
    except OSError:
        pass
    raise ConfigError(
        f"socket from systemd: descriptor {descriptor} does not listen on TCP,"
        " set ListenStream= to a port or to an address and a port"
    )


def _matches(configured: Address, bound: Address) -> bool:
    """Whether a listener accepts the connections of a configured address."""
    host, port = configured
    if port != bound[1]:
        return False
    if not host:
        return bound[0] in ("::", "0.0.0.0")
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bound[0] in {address[0] for *_, address in known}
