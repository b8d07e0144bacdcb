"""One port for several processes: each has a socket of its own, ``SO_REUSEPORT``.

The kernel spreads new connections evenly over these sockets.
"""

import socket
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

__all__ = ["listen_shared", "reserve"]


def reserve(port: int, interface: str) -> socket.socket:
    """Return a socket that holds the address, and is not listened on.

    As long as it is open nobody but processes of this user can come to the address,
    and only in the same way.

    :raises CannotListenError: somebody is there already.
    """
    # Without SO_REUSEPORT, since another server of ours would share the port; and
    # what is returned is without SO_REUSEADDR, so that the other finds out as well.
    _bound(port, interface, socket.SO_REUSEADDR).close()
    return _bound(port, interface, socket.SO_REUSEPORT)


def listen_shared(
    reactor: Any, port: int, interface: str, factory: Factory, backlog: int
) -> IListeningPort:
    """Listen where others of this user may listen, too.

    :raises CannotListenError: somebody is there who does not share.
    """
    own = _bound(port, interface, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    own.setblocking(False)
    own.listen(backlog)
    try:
        listening: IListeningPort
        listening = reactor.adoptStreamPort(own.fileno(), own.family, factory)
        return listening
    finally:
        own.close()  # the reactor has a copy


def _bound(port: int, interface: str, *options: int) -> socket.socket:
    family = socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((interface, port))
    except OSError as error:
        bound.close()
        raise CannotListenError(interface, port, error) from None
    return bound
