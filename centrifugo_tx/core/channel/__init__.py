"""Channels on this node: their subscribers, positions and broadcasts."""
