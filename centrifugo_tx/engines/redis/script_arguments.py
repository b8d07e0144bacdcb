"""The arguments of the longer scripts, by name and in the order of the scripts.

Every argument is bytes.  Empty bytes mean "none" unless stated otherwise.
"""

from typing import NamedTuple

__all__ = [
    "ChangeMap",
    "ExpireKeys",
    "PublishKey",
    "ReadStream",
    "StreamSettings",
]


class StreamSettings(NamedTuple):
    """The last arguments of `PUBLISH_STREAM` and `PUBLISH_LIST`; TTLs are in seconds.

    ``meta_ttl`` is ``0`` for none, ``publish`` the command that publishes.
    """

    size: bytes
    ttl: bytes
    meta_ttl: bytes
    publish: bytes
    result_ttl: bytes
    delta: bytes


class ReadStream(NamedTuple):
    """Arguments of `HISTORY_STREAM` and `READ_CHANGES`.

    Without a ``first`` offset the scripts return the position alone; ``meta_ttl``
    and ``limit`` are ``0`` for none, ``reverse`` is ``0`` or ``1``.
    """

    meta_ttl: bytes
    epoch: bytes
    first: bytes
    limit: bytes
    reverse: bytes


class ChangeMap(NamedTuple):
    """The first arguments of `PUBLISH_KEY` and `REMOVE_KEY`; TTLs in milliseconds.

    ``epoch`` is that of a new map.  ``stream_size`` and ``meta_ttl`` are ``0`` for
    none; the expected position is empty for any.
    """

    key: bytes
    payload: bytes
    messages: bytes
    channel: bytes
    epoch: bytes
    stream_size: bytes
    stream_ttl: bytes
    meta_ttl: bytes
    result_ttl: bytes
    expected_offset: bytes
    expected_epoch: bytes


class PublishKey(NamedTuple):
    """The further arguments of `PUBLISH_KEY`; times are in milliseconds.

    ``key_ttl`` and ``version`` are ``0`` for none, the flags ``0`` or ``1``.
    """

    key_ttl: bytes
    expires_at: bytes
    now: bytes
    delta: bytes
    version: bytes
    version_epoch: bytes
    key_mode: bytes
    renew: bytes


class ExpireKeys(NamedTuple):
    """Arguments of `EXPIRE_KEYS`; times are in milliseconds.

    ``removal`` is the message of a removal without key and tags.
    """

    now: bytes
    batch: bytes
    messages: bytes
    channel: bytes
    epoch: bytes
    stream_size: bytes
    stream_ttl: bytes
    meta_ttl: bytes
    removal: bytes
