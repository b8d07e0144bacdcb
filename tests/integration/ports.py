"""Ports of the loopback interface that stay free until a server takes them."""

import socket

__all__ = ["free_port", "is_listening"]

_held: list[socket.socket] = []


def free_port(bus: int = 0) -> int:
    """Return a port that nothing else takes while this run lasts.

    A socket stays bound to it without listening: the system then gives it to no
    other socket, yet a server that sets SO_REUSEADDR, as all of ours do, can listen.

    :param bus: how far above it another port must be free, too; 0 for none.
    """
    while True:
        first = _bound(0)
        port: int = first.getsockname()[1]
        found = [first]
        if bus:
            try:
                found.append(_bound(port + bus))
            except (OSError, OverflowError):
                first.close()
                continue
        _held.extend(found)
        return port


def is_listening(port: int) -> bool:
    """Whether a server accepts connections on *port*."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return False
    return True


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
    except BaseException:
        made.close()
        raise
    return made
