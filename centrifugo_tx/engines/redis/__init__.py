"""The engine of many nodes: Redis, Valkey, Sentinel, Cluster.

See engines, "Redis connections".

Only `engine` and the modules that it imports need txredisapi.  Importing txredisapi
installs the global reactor, so this package imports nothing.
"""
