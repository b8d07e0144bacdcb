"""The contract of the SDKs, against two nodes behind a balancer."""

from twisted.trial.unittest import SynchronousTestCase

from .pair import Pair, shared_pair
from .sdk_contract import OPTIONS, ExpiryContract, SDKContract
from .test_javascript_sdk import JavaScriptContract
from .test_javascript_sdk_2 import OldContract
from .test_python_sdk import PYTHON_SDK


class PairCase:
    """Mixin: the server is two nodes."""

    def serving(self) -> Pair:
        """Return both."""
        return shared_pair("sdk", OPTIONS)


class PythonTests(PairCase, SDKContract, ExpiryContract, SynchronousTestCase):
    """centrifuge-python, in JSON."""

    def sdk_command(self) -> list[str]:
        return PYTHON_SDK


class PythonProtobufTests(PairCase, SDKContract, SynchronousTestCase):
    """centrifuge-python, in Protobuf."""

    def sdk_command(self) -> list[str]:
        return [*PYTHON_SDK, "protobuf"]


class WebSocketTests(PairCase, JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over WebSocket."""


class HTTPStreamTests(
    PairCase, JavaScriptContract, ExpiryContract, SynchronousTestCase
):
    """centrifuge-js over HTTP streaming; its commands may come to the other node."""

    transport = "http_stream"


class HTTPStreamProtobufTests(PairCase, JavaScriptContract, SynchronousTestCase):
    """The same in Protobuf."""

    transport, encoding = "http_stream", "protobuf"


class SSETests(PairCase, JavaScriptContract, SynchronousTestCase):
    """centrifuge-js over server-sent events."""

    transport = "sse"


class OldTests(PairCase, OldContract, SynchronousTestCase):
    """centrifuge-js 2.8.5, by protocol v1."""
