"""Settings that make pytest run the tests as trial does, and more strictly."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A slow machine must not fail a test.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

INTEGRATION = Path(__file__).parent / "integration"

_STARTING = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "subprocess.Popen",
}

#: Whether the test that runs may start processes.
_may_start = True


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _may_start and event in _STARTING:
        raise RuntimeError(f"a unit test starts a process: {event} {arguments}")


sys.addaudithook(_audit)


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run in a folder that is thrown away, where trial's ``mktemp`` makes its files."""
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("trial")
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(autouse=True)
def processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only tests under ``tests/integration`` may start processes."""
    global _may_start
    before, _may_start = _may_start, request.path.is_relative_to(INTEGRATION)
    yield
    _may_start = before
