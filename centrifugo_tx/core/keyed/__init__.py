"""Channels of keys: maps and shared polls."""
