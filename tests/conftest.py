"""What pytest needs to run tests as trial does."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run in a folder that is thrown away, where trial's ``mktemp`` makes its files."""
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("trial")
    os.chdir(folder)
    yield folder
    os.chdir(before)
