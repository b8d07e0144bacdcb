"""The cost of each command of the client protocol, without sockets.

``python -m benchmarks.commands`` passes commands to clients of a node with the policy
of the standalone server and the memory engine.  It prints the CPU time of each command
in microseconds, from the bytes of the message to the frame that the transport receives.
"""

import os
import platform
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from statistics import median

from twisted.internet.task import Clock

from centrifugo_tx.access import (
    AccessOptions,
    AccessPolicy,
    ChannelRules,
    Namespaces,
    TokenOptions,
    TokenVerifier,
    static_keys,
)
from centrifugo_tx.access.namespaces import NamespaceOptions
from centrifugo_tx.core import Node
from centrifugo_tx.engines.memory import memory_engine

from .burst import Sink

__all__ = ["measures"]

ROUNDS = 7
#: Executions of a command in one round.
COUNT = 10_000

_OPEN = NamespaceOptions(
    presence=True,
    allow_subscribe_for_client=True,
    allow_subscribe_for_anonymous=True,
    allow_publish_for_client=True,
    allow_publish_for_anonymous=True,
    allow_presence_for_client=True,
    allow_presence_for_anonymous=True,
)
_PLAIN = NamespaceOptions(
    allow_subscribe_for_client=True,
    allow_subscribe_for_anonymous=True,
    allow_publish_for_client=True,
    allow_publish_for_anonymous=True,
)
_PUBLISH = '{"id":%d,"publish":{"channel":"%s","data":{"a":1,"text":"hello world"}}}'


def new_node() -> Node:
    """Return a node that permits everything."""
    clock = Clock()
    clock.advance(1_000_000_000)
    options = AccessOptions(
        allow_anonymous_connect_without_token=True, rpc_ping_method="ping"
    )
    namespaces = Namespaces.of(ChannelRules(), _PLAIN, [("pres", _OPEN)])
    tokens = TokenOptions()
    verifier = TokenVerifier(clock, tokens, static_keys(tokens, clock))
    policy = AccessPolicy(clock, options, namespaces, verifier, verifier)
    node = Node(memory_engine(clock), policy, clock)
    node.start()
    return node


def _spent(action: Callable[[], object]) -> float:
    """Return the CPU time of *action* in seconds."""
    began = time.process_time()
    action()
    return time.process_time() - began


def repeated(text: str, depth: int, setup: tuple[str, ...] = ()) -> float:
    """Return the CPU time of one command, of which each message holds *depth*."""
    client = new_node().connect(Sink())
    for command in ('{"id":1,"connect":{}}', *setup):
        client.receive(command.encode())
    message = "\n".join([text] * depth).encode()

    def run() -> None:
        queue, receive = client.queue, client.receive
        for _ in range(COUNT // depth):
            queue.allowance = depth  # as in the next turn of the reactor
            receive(message)

    return _spent(run) / COUNT


def subscribing(prefix: str) -> float:
    """Return the CPU time of a subscribe to a new channel; each client makes 100."""
    node = new_node()
    clients = [node.connect(Sink()) for _ in range(COUNT // 100)]
    messages = [
        b'{"id":%d,"subscribe":{"channel":"%s%d"}}' % (n + 2, prefix.encode(), n)
        for n in range(100)
    ]
    for client in clients:
        client.receive(b'{"id":1,"connect":{}}')

    def run() -> None:
        for client in clients:
            queue, receive = client.queue, client.receive
            for message in messages:
                queue.allowance = 1
                receive(message)

    return _spent(run) / COUNT


def connecting(text: str) -> float:
    """Return the CPU time of a new client with the commands of *text*."""
    node, message = new_node(), text.encode()

    def run() -> None:
        for _ in range(COUNT // 10):
            node.connect(Sink()).receive(message)

    return _spent(run) / (COUNT // 10)


def measures() -> dict[str, Callable[[], float]]:
    """Return the measured functions, by name."""
    void, heard = _PUBLISH % (3, "void"), _PUBLISH % (3, "heard")
    presence = '{"id":3,"presence":{"channel":"pres:room"}}'
    ping = '{"id":3,"rpc":{"method":"ping","data":{"a":1}}}'
    entered = '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'
    return {
        "publish": lambda: repeated(void, 1),
        "publish, 10 in a message": lambda: repeated(void, 10),
        "publish to one subscriber": lambda: repeated(
            heard, 1, ('{"id":2,"subscribe":{"channel":"heard"}}',)
        ),
        "ping, 10 in a message": lambda: repeated(ping, 10),
        "presence, 10 in a message": lambda: repeated(
            presence, 10, ('{"id":2,"subscribe":{"channel":"pres:room"}}',)
        ),
        "subscribe": lambda: subscribing("c"),
        "subscribe with presence": lambda: subscribing("pres:"),
        "connect": lambda: connecting('{"id":1,"connect":{}}'),
        "connect and subscribe": lambda: connecting(entered),
    }


def main() -> None:
    """Print the figures."""
    parser = ArgumentParser(prog="python -m benchmarks.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, microseconds of CPU")
    sys.stdout.flush()
    for name, measured in measures().items():
        values = [measured() * 1e6 for _ in range(rounds)]
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"  {name:<28} {median(values):8.2f}   {spread}", flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    main()
