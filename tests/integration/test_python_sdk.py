"""The official Python client against the real server."""

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .sdk_contract import ExpiryContract, SDKContract

__all__ = ["PYTHON_SDK"]

PYTHON_SDK = [
    sys.executable,
    str(Path(__file__).with_name("clients") / "python_sdk.py"),
]


class PythonTests(SDKContract, ExpiryContract, SynchronousTestCase):
    """centrifuge-python does all of the contract."""

    def sdk_command(self) -> list[str]:
        return PYTHON_SDK


class PythonProtobufTests(SDKContract, SynchronousTestCase):
    """centrifuge-python does all of the contract in Protobuf."""

    def sdk_command(self) -> list[str]:
        return [*PYTHON_SDK, "protobuf"]
