"""Modules generated from the ``.proto`` files in this folder.

``make proto`` generates them with grpcio-tools 1.62.  Newer versions would generate
modules that only newer versions of protobuf import.  `tests.protocol.test_proto`
compares what the modules describe with the ``.proto`` files.
"""
