"""Measurements of the server, next to those of the software that it is built on."""
