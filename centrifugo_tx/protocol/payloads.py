"""The payloads in messages to clients."""

from collections.abc import Iterator

from .messages import ClientInfo, Publication, Push, Raw, Reply, SubscribeResult

__all__ = ["payloads_of_push", "payloads_of_reply"]


def payloads_of_push(push: Push) -> Iterator[Raw]:
    """Yield the payloads in a push."""
    if push.pub is not None:
        yield from _of_publication(push.pub)
    elif push.join is not None:
        yield from _of_info(push.join.info)
    elif push.leave is not None:
        yield from _of_info(push.leave.info)
    elif push.message is not None:
        yield push.message.data
    elif push.subscribe is not None:
        yield push.subscribe.data
    elif push.connect is not None:
        yield push.connect.data
        for result in push.connect.subs.values():
            yield from _of_subscribe(result)


def payloads_of_reply(reply: Reply) -> Iterator[Raw]:
    """Yield the payloads in a reply."""
    if reply.push is not None:
        yield from payloads_of_push(reply.push)
    elif reply.connect is not None:
        yield reply.connect.data
        for result in reply.connect.subs.values():
            yield from _of_subscribe(result)
    elif reply.subscribe is not None:
        yield from _of_subscribe(reply.subscribe)
    elif reply.presence is not None:
        for info in reply.presence.presence.values():
            yield from _of_info(info)
    elif reply.history is not None:
        for publication in reply.history.publications:
            yield from _of_publication(publication)
    elif reply.rpc is not None:
        yield reply.rpc.data


def _of_subscribe(result: SubscribeResult) -> Iterator[Raw]:
    yield result.data
    for publication in (*result.publications, *result.state):
        yield from _of_publication(publication)


def _of_publication(publication: Publication) -> Iterator[Raw]:
    yield publication.data
    if publication.info is not None:
        yield from _of_info(publication.info)


def _of_info(info: ClientInfo) -> Iterator[Raw]:
    yield info.conn_info
    yield info.chan_info
