"""Centrifugo, the real-time messaging server, on Twisted."""
