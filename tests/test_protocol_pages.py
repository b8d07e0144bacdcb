"""The statements of the pages under ``docs/protocol`` are true."""

import json
import re
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol import codes
from centrifugo_tx.protocol.delta import make
from centrifugo_tx.protocol.json_codec import decode_commands
from centrifugo_tx.protocol.proto import (
    client_pb2,
    client_v1_pb2,
    control_pb2,
    unistream_pb2,
)

from .citations import PAGES

NAMES = sorted(path.stem for path in PAGES.glob("*.rst") if path.stem != "index")

_TYPES = {
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_SINT64: "sint64",
}


def page(name: str) -> str:
    """Return the text of a page."""
    return (PAGES / f"{name}.rst").read_text()


def section(name: str, title: str) -> str:
    """Return the text of a section."""
    found = re.search(
        rf"^{re.escape(title)}\n-+\n(.*?)(?=^\.\. _|\Z)", page(name), re.M | re.S
    )
    assert found is not None, (name, title)
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of each row of all tables but their heads."""
    found: list[list[str]] = []
    for table in re.findall(r"\.\. list-table::\n.*?\n\n((?: {3,}.*\n)+)", text):
        items = re.split(r"^   \* -", table, flags=re.M)[1:]
        for item in items[1:]:
            cells = re.split(r"^     -", item, flags=re.M)
            found.append([" ".join(cell.split()) for cell in cells])
    return found


def blocks(name: str, language: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    pattern = rf"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)"
    return [
        re.sub(r"^    ", "", found, flags=re.M).strip()
        for found in re.findall(pattern, page(name) + "\n")
    ]


def slug(title: str) -> str:
    """Return a title as it appears in a label."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


class LabelTests(SynchronousTestCase):
    """Every section can be linked to, and keeps its link."""

    def test_labels(self) -> None:
        """A section's label is the page's name and its title."""
        for name in NAMES:
            lines = page(name).splitlines()
            self.assertEqual(lines[0], f".. _{name}:")
            for at, line in enumerate(lines):
                if line and set(line) == {"-"} and len(line) == len(lines[at - 1]):
                    label = f".. _{name}-{slug(lines[at - 1])}:"
                    self.assertEqual(lines[at - 3], label)

    def test_titles(self) -> None:
        """No page has two sections of one title."""
        for name in NAMES:
            titles = re.findall(r"^(.+)\n-+$", page(name), re.M)
            self.assertEqual(len(titles), len(set(titles)), name)


class ExampleTests(SynchronousTestCase):
    """The JSON on the pages."""

    def test_json(self) -> None:
        """Each block is JSON."""
        count = 0
        for name in NAMES:
            for block in blocks(name, "json"):
                json.loads(block)
                count += 1
        self.assertGreater(count, 15)

    def test_exchanges(self) -> None:
        """The server decodes the clients' messages; replies are objects."""
        sent = 0
        for block in blocks("client-protocol", "text"):
            for line in block.splitlines():
                arrow, _, text = line.partition(" ")
                if arrow == "->":
                    (command,) = decode_commands(text.encode())
                    # The examples have no misspelled names: encoding reproduces them.
                    given = json.loads(text)
                    self.assertEqual(
                        [key for key in given if getattr(command, key, None) is None],
                        [],
                    )
                    sent += 1
                elif arrow == "<-":
                    self.assertIsInstance(json.loads(text), dict)
                elif text.startswith("{"):
                    json.loads(text)
        self.assertGreater(sent, 15)

    def test_first_version(self) -> None:
        """The exchanges of version 1 are JSON, too."""
        found = [
            json.loads(line.split(" ", 2)[2])
            for block in blocks("client-protocol-v1", "text")
            for line in block.splitlines()
            if line.startswith("v1 ")
        ]
        self.assertGreater(len(found), 12)


class CodeTests(SynchronousTestCase):
    """The tables of codes are those of the server."""

    def table(self, kind: type, title: str) -> None:
        """Compare the codes of a kind with a section's table."""
        known = {
            (str(value.code), getattr(value, "message", None) or value.reason)
            for value in vars(codes).values()
            if isinstance(value, kind)
        }
        written = {(row[0], row[1]) for row in rows(section("client-protocol", title))}
        missing = known - written
        self.assertEqual(missing, set())

    def test_errors(self) -> None:
        """Numbers and messages of errors."""
        self.table(codes.Error, "Errors")

    def test_disconnects(self) -> None:
        """Numbers and reasons of disconnects."""
        self.table(codes.Disconnect, "Disconnects")


class DeltaTests(SynchronousTestCase):
    """The delta on the page."""

    def test_example(self) -> None:
        """The example equals the server's output."""
        before = b'{"lamp":"kitchen","level":41,"mode":"night"}'
        after = before.replace(b"41", b"87")
        (example,) = (
            block
            for block in blocks("client-protocol", "text")
            if block.startswith("h\n")
        )
        self.assertEqual(make(before, after), example.encode())


def type_of(field: FieldDescriptor) -> str:
    """Return a field's type as the page writes it."""
    message = field.message_type
    if message is not None:
        if message.GetOptions().map_entry:
            key, value = (message.fields_by_number[number] for number in (1, 2))
            return f"map of {type_of(key)} to {type_of(value)}"
        name: str = message.name
    elif field.enum_type is not None:
        name = field.enum_type.name
    else:
        name = _TYPES[field.type]
    # Every field has the default value of its type; that of many values is a list.
    return f"repeated {name}" if isinstance(field.default_value, list) else name


class ProtobufTests(SynchronousTestCase):
    """The tables of the page on Protobuf are those of the ``.proto`` files."""

    def table(self, module: Any, title: str) -> None:
        """Compare a section's table with a module."""
        messages: dict[str, Descriptor] = module.DESCRIPTOR.message_types_by_name
        expected = [
            [
                name,
                "; ".join(
                    f"{field.name} {field.number} {type_of(field)}"
                    for field in message.fields
                )
                or "none",
            ]
            for name, message in messages.items()
        ]
        self.assertEqual(rows(section("protobuf", title)), expected)

    def test_second_version(self) -> None:
        """Version 2 of the client protocol."""
        self.table(client_pb2, "Version 2 messages")

    def test_first_version(self) -> None:
        """Version 1, with its numbers of methods and pushes."""
        self.table(client_v1_pb2, "Version 1 messages")
        text = " ".join(section("protobuf", "Version 1 messages").split())
        for name, enum in client_v1_pb2.DESCRIPTOR.enum_types_by_name.items():
            values = ", ".join(f"{value.number} {value.name}" for value in enum.values)
            self.assertIn(f"* {name}: {values}", text)

    def test_unidirectional(self) -> None:
        """Clients over gRPC that only listen."""
        self.table(unistream_pb2, "Unidirectional gRPC")

    def test_control(self) -> None:
        """Messages between nodes."""
        self.table(control_pb2, "Control messages of nodes")

    def test_samples(self) -> None:
        """The bytes have the stated meaning."""
        samples = {
            row[0]: bytes.fromhex(row[1].strip("`"))
            for row in rows(page("protobuf"))
            if re.fullmatch(r"``[0-9a-f ]+``", row[-1])
        }
        connect = client_pb2.Command.FromString(
            samples["connect, id 1, name ``js``"][1:]
        )
        self.assertEqual((connect.id, connect.connect.name), (1, "js"))
        publish = client_pb2.Reply.FromString(
            samples["publish succeeded, id 3: an empty result that is present"][1:]
        )
        self.assertTrue(publish.HasField("publish"))
        key = "publication in channel ``a``, data ``hi``, offset 3"
        push = client_pb2.Reply.FromString(samples[key][1:]).push
        self.assertEqual(
            (push.channel, push.pub.data, push.pub.offset), ("a", b"hi", 3)
        )
