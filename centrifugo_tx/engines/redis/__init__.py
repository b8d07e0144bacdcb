"""The engine of many nodes: Redis, Valkey, Sentinel, Cluster.

See engines, "Redis connections".

Only `engine` and what it imports need txredisapi, which brings the global reactor
along; so nothing is imported here.
"""
