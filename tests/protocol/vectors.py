"""The byte strings in ``tests/vectors``."""

import json
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["load", "plain"]

FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    """Return the vectors of one file."""
    vectors: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())
    return vectors


def plain(message: msgspec.Struct) -> Any:
    """Return a message as the vectors write it: JSON with payloads in place."""
    return json.loads(msgspec.json.encode(message))
