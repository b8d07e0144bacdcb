"""One port for several processes, each with its own ``SO_REUSEPORT`` socket.

The kernel spreads new connections evenly over these sockets.
"""

import os
import socket
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

__all__ = ["listen_inherited", "listen_reuseport", "reserve_port"]


def reserve_port(port: int, interface: str) -> socket.socket:
    """Return a socket that reserves the address without listening.

    While it is open, only processes of this user that set ``SO_REUSEPORT`` can listen
    on the address.

    :raises CannotListenError: another server listens there, or has reserved it.
    """
    # Without SO_REUSEPORT, because another server of this kind would share the port.
    _bound(port, interface, socket.SO_REUSEADDR).close()
    # Connections of an earlier server in TIME_WAIT block a socket without
    # SO_REUSEADDR.  Once the socket is bound, the option is removed: a server that
    # starts later with SO_REUSEADDR alone must be refused.
    held = _bound(port, interface, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return held


def listen_reuseport(
    reactor: Any, port: int, interface: str, factory: Factory, backlog: int
) -> IListeningPort:
    """Listen on a port that other processes of this user may share.

    :raises CannotListenError: a process that does not share listens there.
    """
    own = _bound(port, interface, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    own.setblocking(False)
    own.listen(backlog)
    try:
        listening: IListeningPort
        listening = reactor.adoptStreamPort(own.fileno(), own.family, factory)
        return listening
    finally:
        own.close()  # the reactor has duplicated it


def listen_inherited(reactor: Any, descriptor: int, factory: Factory) -> IListeningPort:
    """Accept from a TCP socket that another process has bound, and listens on.

    The socket continues to listen when this process stops; *descriptor* stays open.
    """
    with socket.socket(fileno=os.dup(descriptor)) as inherited:
        family = inherited.family
    listening: IListeningPort = reactor.adoptStreamPort(descriptor, family, factory)
    return listening


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
