"""The generated modules."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import centrifugo_tx

_PACKAGE = Path(centrifugo_tx.__file__).parent


class GeneratedModules(SynchronousTestCase):
    """The generated modules are up to date."""

    def test_regenerated(self) -> None:
        """Each module equals the compiler's output byte for byte."""
        if find_spec("grpc_tools") is None:
            raise SkipTest("grpcio-tools is not installed")
        sources = sorted(_PACKAGE.rglob("*.proto"))
        self.assertTrue(sources)
        with tempfile.TemporaryDirectory() as made:
            for source in sources:
                path = source.relative_to(_PACKAGE.parent)
                self._compile(path, made)
                for kind in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
                    module = path.with_name(path.stem + kind)
                    if (_PACKAGE.parent / module).exists():
                        self.assertEqual(
                            (Path(made) / module).read_text(),
                            (_PACKAGE.parent / module).read_text(),
                            module,
                        )

    def _compile(self, path: Path, into: str) -> None:
        from grpc_tools import protoc

        kinds = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
        command = ["protoc", f"-I{_PACKAGE.parent}", *kinds, str(path)]
        self.assertEqual(protoc.main(command), 0, path)
