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
#: The files that take longest; they start first, so that no worker ends long before
#: the others.
SLOWEST = (
    "test_workers.py",
    "test_stop.py",
    "test_guides.py",
    "test_launch.py",
    "test_log.py",
    "test_uni.py",
    "test_sdk_cluster.py",
    "test_proxies.py",
    "test_packaging.py",
    "test_map_workers.py",
    "test_examples.py",
    "test_consumers_kafka.py",
    "test_tls.py",
    "test_systemd.py",
    "test_tutorial.py",
    "test_terminal.py",
    "test_typed_program.py",
    "test_open_files.py",
)

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many workers ``--numprocesses`` starts.

    ``logical`` is one for each processor, for unit tests.  ``auto`` is one more,
    because integration tests wait for processes of their own.
    """
    processors = len(os.sched_getaffinity(0))
    return processors if config.option.numprocesses == "logical" else processors + 1


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Sort the files of a worker: slowest first, then integration, then unit tests."""

    def rank(item: pytest.Item) -> int:
        if not item.path.is_relative_to(INTEGRATION):
            return len(SLOWEST) + 1
        name = item.path.name
        return SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)

    if hasattr(config, "workerinput"):
        items.sort(key=rank)


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
