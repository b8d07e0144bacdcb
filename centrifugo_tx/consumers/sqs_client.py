"""SQS by aiobotocore (extra ``sqs``), on an asyncio loop.

There, other than in a thread, a stop can end a long poll.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from attrs import define, field, frozen
from botocore.exceptions import BotoCoreError, ClientError
from twisted.internet.defer import Deferred

from ..grpc.asyncio_bridge import AsyncioBridge
from .delivery import SourceUnavailable
from .sqs import QueueMessage

__all__ = ["SQSQueue", "SQSSettings"]


#: Seconds before their end at which the keys of a role are asked for again.
EARLY = 300.0


@frozen
class SQSSettings:
    """How queues are reached and polled; times in seconds."""

    region: str
    profile: str = ""
    role: str = ""
    endpoint: str = ""
    messages: int = 10
    wait: int = 20
    visibility: int = 30


@define(eq=False)
class SQSQueue:
    """One queue, and a client for it."""

    _bridge: AsyncioBridge
    _settings: SQSSettings
    url: str
    _client: Any = field(default=None, init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _tasks: "set[asyncio.Task[Any]]" = field(factory=set, init=False)
    _closed: bool = field(default=False, init=False)
    #: The time at which the keys of a role are asked for again.
    _renew: float = field(default=float("inf"), init=False)

    # --- In the reactor --------------------------------------------------------

    def receive(self) -> "Deferred[Sequence[QueueMessage]]":
        """Wait for messages, which others do not see for a while."""
        return self._bridge.run(self._guarded, self._receive)

    def delete(self, messages: Sequence[QueueMessage]) -> "Deferred[Sequence[str]]":
        """Delete messages; return the errors."""
        return self._bridge.run(self._guarded, self._delete, messages)

    def close(self) -> "Deferred[None]":
        """Cancel all running work."""
        return self._bridge.run(self._close)

    # --- On the loop -----------------------------------------------------------

    async def _guarded(self, work: Any, *arguments: object) -> Any:
        task = asyncio.current_task()
        assert task is not None
        if self._closed:
            raise SourceUnavailable("stopped")
        self._tasks.add(task)
        try:
            if self._client is not None and time.time() >= self._renew:
                await self._disconnect()
            if self._client is None:
                self._client = await self._connect()
            return await work(*arguments)
        except asyncio.CancelledError:
            raise SourceUnavailable("stopped") from None
        except (BotoCoreError, ClientError, OSError, TimeoutError) as error:
            raise SourceUnavailable(str(error).partition("\n")[0]) from None
        finally:
            self._tasks.discard(task)

    async def _connect(self) -> Any:
        settings = self._settings
        session = AioSession(profile=settings.profile or None)
        keys: dict[str, Any] = await self._role(session) if settings.role else {}
        # A receive waits, and botocore's own retries would hide that SQS is away.
        config = AioConfig(
            connect_timeout=5,
            read_timeout=settings.wait + 10,
            retries={"total_max_attempts": 1},
        )
        made = session.create_client(
            "sqs",
            region_name=settings.region,
            endpoint_url=settings.endpoint or None,
            config=config,
            **keys,
        )
        return await self._stack.enter_async_context(made)

    async def _role(self, session: AioSession) -> dict[str, Any]:
        """Return the keys of the role, which are good for a time."""
        settings = self._settings
        async with session.create_client("sts", region_name=settings.region) as sts:
            answer = await sts.assume_role(
                RoleArn=settings.role, RoleSessionName="centrifugo"
            )
        found = answer["Credentials"]
        self._renew = time.time() + max(60.0, self._left(found) - EARLY)
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }

    @staticmethod
    def _left(credentials: Any) -> float:
        left: float = credentials["Expiration"].timestamp() - time.time()
        return left

    async def _disconnect(self) -> None:
        self._client = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def _receive(self) -> list[QueueMessage]:
        settings = self._settings
        answer = await self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=settings.messages,
            WaitTimeSeconds=settings.wait,
            VisibilityTimeout=settings.visibility,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        return [_message(each) for each in answer.get("Messages", ())]

    async def _delete(self, messages: Sequence[QueueMessage]) -> list[str]:
        answer = await self._client.delete_message_batch(
            QueueUrl=self.url,
            Entries=[
                {"Id": each.id, "ReceiptHandle": each.receipt} for each in messages
            ],
        )
        return [
            f"{each.get('Code', '')}: {each.get('Message', '')}"
            for each in answer.get("Failed", ())
        ]

    async def _close(self) -> None:
        self._closed = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)
        await self._disconnect()


def _message(given: dict[str, Any]) -> QueueMessage:
    attributes = {
        name: value["StringValue"]
        for name, value in given.get("MessageAttributes", {}).items()
        if "StringValue" in value
    }
    return QueueMessage(
        given["MessageId"],
        given["ReceiptHandle"],
        given.get("Body"),
        attributes,
        given.get("Attributes", {}).get("MessageGroupId", ""),
    )
