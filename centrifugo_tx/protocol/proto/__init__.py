"""Modules generated from the ``.proto`` files in this folder.

To generate them, run ``python -m grpc_tools.protoc -I. --python_out=. --pyi_out=.
PATH`` in the folder of the package ``centrifugo_tx``; `tests.protocol.test_proto`
compares the result.
"""
