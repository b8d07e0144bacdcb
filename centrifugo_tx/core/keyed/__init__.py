"""Channels of keys: maps, and shared poll."""
