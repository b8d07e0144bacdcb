"""Switching a connection to another protocol, with the bytes read so far."""

from typing import Any

from twisted.protocols.policies import ProtocolWrapper

__all__ = ["switch_protocol", "upgrade_connection"]


def switch_protocol(transport: Any, protocol: Any, data: bytes) -> None:
    """Connect *protocol* to *transport*, and pass it the bytes read so far."""
    if isinstance(transport, ProtocolWrapper):  # TLS
        transport.wrappedProtocol = protocol
    elif isinstance(transport.protocol, ProtocolWrapper):  # startTLS
        transport.protocol.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
    protocol.makeConnection(transport)
    if data:
        protocol.dataReceived(data)


def upgrade_connection(channel: Any, request: Any, factory: Any) -> None:
    """Switch an HTTP/1.1 connection to a protocol of *factory*, with its head.

    The channel's ``dataReceived`` calls this, and must pass the bytes after the head
    to ``rawDataReceived``.  Channel and request are unreferenced afterwards.
    """
    head = [b"%b %b %b\r\n" % (request.method, request.uri, request.clientproto)]
    for name, values in request.requestHeaders.getAllRawHeaders():
        head += [b"%b: %b\r\n" % (name, value) for value in values]
    head.append(b"\r\n")
    transport = channel.transport
    channel.setTimeout(None)
    # Otherwise the transport would refer to channel and request for ever.
    transport.unregisterProducer()
    channel.requests.clear()
    protocol = factory.buildProtocol(transport.getPeer())
    channel.length = None
    channel.rawDataReceived = protocol.dataReceived
    channel.transport = None
    request.channel = request.transport = None
    switch_protocol(transport, protocol, b"".join(head))
