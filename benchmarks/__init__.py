"""Figures of the server beside those of what it is built on."""
