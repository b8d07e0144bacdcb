"""Modules generated from the ``.proto`` files beside them.

``python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. NAME.proto`` makes them.
"""
