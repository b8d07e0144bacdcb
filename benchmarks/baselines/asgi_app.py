"""A node under uvicorn: ``uvicorn benchmarks.baselines.asgi_app:app``."""

from centrifugo_tx import (
    AsyncNode,
    Client,
    Policy,
    PublishOptions,
    PublishRequest,
    SubscribeOptions,
    SubscribeRequest,
)
from centrifugo_tx.asgi import Endpoints


class Open(Policy):
    """Permits what the configuration of the benchmarks permits."""

    def subscribe(self, client: Client, request: SubscribeRequest) -> SubscribeOptions:
        return SubscribeOptions()

    def publish(self, client: Client, request: PublishRequest) -> PublishOptions:
        return PublishOptions()


app = Endpoints(AsyncNode(Open()), allowed_origins=["*"], api_key="key")
