"""Modules generated from the ``.proto`` files beside them.

``python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. PATH``, called where the
package ``centrifugo_tx`` is, makes them; `tests.protocol.test_proto` compares.
"""
