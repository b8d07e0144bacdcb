"""A program of a user that type checkers accept without a plugin."""

from twisted.internet.defer import Deferred, succeed

from centrifugo_tx import (
    Admission,
    AsyncNode,
    BrokerUnavailable,
    ChannelOptions,
    Client,
    ConnectRequest,
    ControlEventHandler,
    Controller,
    Disconnect,
    DisconnectClient,
    Engine,
    Error,
    History,
    HistoryQuery,
    HistoryRequest,
    Node,
    NodeInfo,
    Policy,
    PolicyProtocol,
    Publication,
    PublishOptions,
    PublishRequest,
    Raw,
    ReplyError,
    RPCRequest,
    StreamPosition,
    SubscribeOptions,
    SubscribeRequest,
    from_json,
    memory_engine,
    to_json,
)
from centrifugo_tx.asgi import Endpoints
from centrifugo_tx.testing import FakeClient, MemoryNode, result_of
from centrifugo_tx.transports import WebSocketOptions, websocket_resource

DENIED = Error(1000, "no")


class Rooms(Policy):
    """Answers at once, in coroutines, and by Deferreds."""

    def channel(self, name: str) -> ChannelOptions:
        return ChannelOptions(history_size=10, history_ttl=60, presence=True)

    async def connect(self, client: Client, request: ConnectRequest) -> Admission:
        if not request.token:
            raise DisconnectClient(Disconnect(4501, "no token"))
        return Admission(user=request.token, info=to_json({"name": "Ann"}))

    def subscribe(self, client: Client, request: SubscribeRequest) -> SubscribeOptions:
        if client.subscribed("x") or client.transport.peer_address == "":
            raise ReplyError(DENIED)
        return SubscribeOptions(presence=True, recoverable=True)

    def publish(self, client: Client, request: PublishRequest) -> PublishOptions:
        text: str = from_json(request.data)["text"]
        return PublishOptions(data=to_json({"text": text}), tags={"user": client.user})

    def history(
        self, client: Client, request: HistoryRequest
    ) -> "Deferred[HistoryQuery]":
        return succeed(HistoryQuery(min(request.limit, 10), request.since))

    def rpc(self, client: Client, request: RPCRequest) -> "Deferred[Raw]":
        return succeed(to_json({"method": request.method}))


class Loopback:
    """A controller of one node."""

    def listen(self, receiver: ControlEventHandler, node: str) -> None:
        self.receiver = receiver

    def publish(self, message: bytes, node: str = "") -> "Deferred[None]":
        self.receiver.handle_control(message)
        return succeed(None)


policy: PolicyProtocol = Rooms()
controller: Controller = Loopback()
parts = memory_engine()
node = Node(Engine(parts.broker, parts.presence, controller), policy)
resource = websocket_resource(
    node, ["https://example.com"], WebSocketOptions(compression=True)
)


async def in_twisted() -> None:
    """Use the node with Deferreds."""
    await node.start()
    result = await node.publish("news", {"text": "hi"}, tags={"kind": "greeting"})
    top: StreamPosition = result.position
    try:
        history: History = await node.history("news", limit=10, since=top)
    except (BrokerUnavailable, ReplyError):
        return
    publication: Publication
    for publication in history.publications:
        text: str = publication.data["text"]
        print(text, publication.raw.decode())
    for client, info in (await node.presence("news")).items():
        print(client.upper(), info.user.upper(), info.conn_info)
    for outcome in await node.broadcast(["a", "b"], [1, 2]):
        if isinstance(outcome, Error):
            print(outcome.code)
        else:
            print(outcome.offset)
    await node.stop()


async def in_asyncio() -> None:
    """Use a node with asyncio."""
    other = AsyncNode(Rooms(), memory_engine)
    app = Endpoints(other, allowed_origins=["https://example.com"], headers=["cookie"])
    outer = Endpoints(other, api_key="secret", others=app)
    print(outer.api_key)
    async with other.lifespan():
        offset: int = (await other.publish("news", raw=b"\x00")).offset
        nodes: list[NodeInfo] = await other.info()
        print(offset, nodes[0].uid)


def in_tests() -> None:
    """Use the test kit."""
    world = MemoryNode(Rooms())
    client: FakeClient = world.client(token="ann")
    offset: int = result_of(world.node.publish("news", 1)).offset
    print(offset, [each.data for each in client.publications("news")])
