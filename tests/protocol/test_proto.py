"""The generated modules."""

import ast
import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import centrifugo_tx

_PACKAGE = Path(centrifugo_tx.__file__).parent
_SOURCES = sorted(_PACKAGE.rglob("*.proto"))


def _messages(found: Iterable[DescriptorProto]) -> Iterator[DescriptorProto]:
    """Yield messages, and those nested in them, without the entries of maps."""
    for message in found:
        if not message.options.map_entry:
            yield message
            yield from _messages(message.nested_type)


def _fields(file: FileDescriptorProto) -> Iterator[FieldDescriptorProto]:
    nested = list(file.message_type)
    while nested:
        message = nested.pop()
        nested += message.nested_type
        yield from message.field


class GeneratedModules(SynchronousTestCase):
    """The generated modules are up to date, and old versions of protobuf read them."""

    def described(self, source: Path) -> FileDescriptorProto:
        """Return what the module of a ``.proto`` file describes."""
        path = source.relative_to(_PACKAGE.parent).with_suffix("")
        module = import_module(".".join(path.parts) + "_pb2")
        return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)

    def test_modules(self) -> None:
        """Each module describes what its ``.proto`` file does."""
        if find_spec("grpc_tools") is None:
            raise SkipTest("grpcio-tools is not installed")
        self.assertTrue(_SOURCES)
        for source in _SOURCES:
            compiled = self._compiled(source.relative_to(_PACKAGE.parent))
            self.assertEqual(self.described(source), compiled, source)

    def test_stubs(self) -> None:
        """Each stub declares every message with its fields."""
        for source in _SOURCES:
            stub = ast.parse(source.with_name(f"{source.stem}_pb2.pyi").read_text())
            classes = {
                each.name: {
                    line.target.id
                    for line in each.body
                    if isinstance(line, ast.AnnAssign)
                    and isinstance(line.target, ast.Name)
                }
                for each in ast.walk(stub)
                if isinstance(each, ast.ClassDef)
            }
            for message in _messages(self.described(source).message_type):
                names = {field.name for field in message.field}
                self.assertLessEqual(names, classes[message.name], source)

    def test_old_protobuf(self) -> None:
        """No module asks for the version of protobuf that generated it."""
        for source in _SOURCES:
            module = source.with_name(f"{source.stem}_pb2.py").read_text()
            self.assertNotIn("ValidateProtobufRuntimeVersion", module, source)

    def _compiled(self, path: Path) -> FileDescriptorProto:
        from grpc_tools import protoc

        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / "described"
            command = ["protoc", f"-I{_PACKAGE.parent}", f"--descriptor_set_out={made}"]
            self.assertEqual(protoc.main([*command, str(path)]), 0, path)
            (file,) = FileDescriptorSet.FromString(made.read_bytes()).file
        for field in _fields(file):
            field.ClearField("json_name")  # protoc adds it
        return file
