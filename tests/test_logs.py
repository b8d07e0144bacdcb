"""Log lines (operations, "Logs")."""

import json
from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import msgspec
from twisted.internet.protocol import Factory
from twisted.logger import LogEvent, Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx
from centrifugo_tx.logs import from_record, observer, open_log, to_record


class LogCase(SynchronousTestCase):
    """Something that looks at log lines."""

    def setUp(self) -> None:
        self.stream = StringIO()

    def logger(
        self, level: str = "info", colored: bool = False, namespace: str = "a"
    ) -> Logger:
        """Return a logger whose events pass an observer of this level."""
        publisher = LogPublisher(observer(level, self.stream, colored))
        return Logger(namespace, observer=publisher)

    def lines(self) -> list[dict[str, Any]]:
        """Return the written lines, as JSON."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


class JSONTests(LogCase):
    """One JSON object per line."""

    def test_line(self) -> None:
        """Level, time and message come first, then the fields."""
        self.logger().info("client {client} closed", client="c1", code=3000, odd={1})
        (line,) = self.lines()
        self.assertEqual(list(line)[:3], ["level", "time", "message"])
        self.assertEqual(line["level"], "info")
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(line["message"], "client c1 closed")
        self.assertEqual((line["client"], line["code"]), ("c1", 3000))
        self.assertEqual(line["odd"], "{1}")
        self.assertFalse([name for name in line if name.startswith("log_")])

    def test_list(self) -> None:
        """Several values of a field are a list."""
        self.logger().info("refused", allowed_origins=("https://a", "https://b"))
        (line,) = self.lines()
        self.assertEqual(line["allowed_origins"], ["https://a", "https://b"])

    def test_one_line(self) -> None:
        """Line breaks in values stay inside the line."""
        self.logger().info("a\nb {c}", c="d\ne")
        self.assertEqual(len(self.lines()), 1)

    def test_failure(self) -> None:
        """A failure is in the field ``error``."""
        log = self.logger()
        try:
            raise ValueError("broken")
        except ValueError:
            log.failure("it went wrong")
        (line,) = self.lines()
        self.assertEqual((line["level"], line["message"]), ("fatal", "it went wrong"))
        self.assertIn("ValueError: broken", line["error"])

    def test_fields_do_not_replace(self) -> None:
        """A field cannot pass for the message."""
        self.logger().warn("said", message="other", time="never")
        (line,) = self.lines()
        self.assertEqual((line["level"], line["message"]), ("warn", "said"))


#: Characters that must not reach a terminal or begin a line: line breaks, escape
#: sequences, other control characters of both sets, line separators, and changes of
#: direction.
HOSTILE = "a\n2026 \x1b[2J\r\b\x00\x7f\x9b31m\x85\u2028\u202eb"


class StrangerTests(LogCase):
    """Values that strangers have chosen."""

    def test_json(self) -> None:
        """Unprintable characters are escaped, and the reader of a line restores
        them.
        """
        self.logger().info("channel {channel}", channel=HOSTILE, many=["a", HOSTILE])
        written = self.stream.getvalue()
        self.assertTrue(written[:-1].isprintable(), ascii(written))
        (line,) = self.lines()
        self.assertEqual(line["message"], f"channel {HOSTILE}")
        self.assertEqual((line["channel"], line["many"]), (HOSTILE, ["a", HOSTILE]))

    def test_console(self) -> None:
        """On a console all of it is one line, with no escape sequence but our own."""
        self.logger(colored=True).info("channel {channel}", channel=HOSTILE)
        line = self.stream.getvalue().removesuffix("\n")
        for own in ("\x1b[32m", "\x1b[36m", "\x1b[0m"):
            line = line.replace(own, "")
        self.assertTrue(line.isprintable(), ascii(line))
        shown = r"a\n2026 \x1b[2J\r\u0008\u0000\u007f\u009b31m\u0085\u2028\u202eb"
        self.assertTrue(line.endswith(f'channel {shown} channel="{shown}"'), line)

    def test_console_fields(self) -> None:
        """A value cannot pass for another field; plain ones stay as they are."""
        log = self.logger(colored=True)
        log.info("said", a="x y=z", b='q"\\n', c="news:é#42,43", d=1.5, e=None)
        line = self.stream.getvalue().replace("\x1b[36m", "").replace("\x1b[0m", "")
        told = r"""said a="x y=z" b="q\"\\n" c=news:é#42,43 d=1.5 e=None"""
        self.assertIn(told, line)

    def test_console_traceback(self) -> None:
        """Every line of a traceback is indented."""
        log = self.logger(colored=True)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            log.failure("it went wrong")
        first, *rest = self.stream.getvalue().removesuffix("\n").split("\n")
        self.assertIn("it went wrong", first)
        self.assertGreater(len(rest), 2)
        for line in rest:
            self.assertTrue(line.startswith("    ") and line.isprintable(), ascii(line))

    def test_length(self) -> None:
        """Messages, fields and tracebacks have bounds."""
        log = self.logger()
        log.info("{text} {text}", text="x" * 100_000, many=["y" * 700] * 1000)
        try:
            raise ValueError("z" * 1_000_000)
        except ValueError:
            log.failure("it went wrong")
        said, failed = self.lines()
        for name, limit in (("message", 4096), ("text", 1024)):
            self.assertTrue(said[name].startswith("x" * limit + "… ("), name)
            self.assertLess(len(said[name]), limit + 50)
        self.assertEqual(said["many"], ["y" * 700] * 2 + ["… (998 more)"])
        self.assertLess(len(failed["error"]), 65536 + 50)
        self.assertTrue(failed["error"].startswith("Traceback"))
        self.assertTrue(failed["error"].endswith("zz\n"))

    def test_odd_values(self) -> None:
        """Numbers that JSON or Python cannot write, and objects without a repr."""

        class Odd:
            def __str__(self) -> str:
                raise RuntimeError

        log = self.logger()
        log.info("odd", a=10**5000, b=float("nan"), c=Odd(), d="\ud800", e=True)
        (line,) = self.lines()
        self.assertEqual(line["a"], "integer of 16610 bits")
        self.assertEqual((line["b"], line["c"]), ("nan", "<Odd>"))
        self.assertEqual((line["d"], line["e"]), ("\ud800", True))
        self.stream.getvalue().encode()

    def test_ascii(self) -> None:
        """A stream of another encoding gets escapes that JSON knows."""
        path = Path(self.mktemp())
        with path.open("w", encoding="ascii") as stream:
            Logger("a", observer=observer("info", stream, False)).info("é\U0001f600")
        self.assertEqual(json.loads(path.read_bytes())["message"], "é\U0001f600")

    def test_record(self) -> None:
        """They come through the pipe from a worker, lone surrogates escaped."""

        def receive(event: LogEvent) -> None:
            record = msgspec.json.decode(msgspec.json.encode(to_record(event)))
            observer("info", self.stream, False)(from_record(record))

        log = Logger("a", observer=LogPublisher(receive))  # type: ignore[arg-type]
        log.info("channel {a}", a=f"{HOSTILE}\ud800", b=["\ud800"], c="x" * 5000)
        (line,) = self.lines()
        self.assertEqual(line["message"], f"channel {HOSTILE}\\ud800")
        self.assertEqual((line["b"], len(line["c"])), (["\\ud800"], 1048))
        self.assertTrue(line["c"].endswith("… (3976 more characters)"))


class LevelTests(LogCase):
    """Levels."""

    def test_levels(self) -> None:
        """A level passes itself and more severe levels."""
        names = ["debug", "info", "warn", "error", "critical"]
        for level, first in (
            ("trace", 0),
            ("debug", 0),
            ("INFO", 1),
            ("warn", 2),
            ("error", 3),
            ("fatal", 4),
            ("none", 5),
            ("unknown", 1),
        ):
            self.stream = StringIO()
            log = self.logger(level)
            for name in names:
                getattr(log, name)("said")
            shown = [line["level"] for line in self.lines()]
            expected = [name.replace("critical", "fatal") for name in names[first:]]
            self.assertEqual(shown, expected, level)

    def test_trace(self) -> None:
        """Events that say so are of level trace, which debug does not let through."""
        for level, shown in (("trace", ["trace", "debug"]), ("debug", ["debug"])):
            self.stream = StringIO()
            log = self.logger(level)
            log.debug("frame", log_frame=True)
            log.debug("said")
            self.assertEqual([line["level"] for line in self.lines()], shown)

    def test_trace_colored(self) -> None:
        """A terminal shows them with a mark of their own."""
        self.logger("trace", colored=True).debug("frame", log_frame=True)
        self.assertIn("[TRC]", self.stream.getvalue())

    def test_framework(self) -> None:
        """At info, the framework's own news are left out, its warnings not."""
        log = self.logger("info", namespace="twisted.internet.tcp")
        log.info("starting")
        log.warn("odd")
        self.assertEqual([line["message"] for line in self.lines()], ["odd"])
        self.logger("debug", namespace="twisted.internet.tcp").info("starting")
        self.assertEqual(len(self.lines()), 2)


class ChatterTests(SynchronousTestCase):
    """Log lines of the framework."""

    def test_factories(self) -> None:
        """No factory of ours tells that it starts and stops."""
        for module in walk_packages(centrifugo_tx.__path__, "centrifugo_tx."):
            if not module.name.endswith(("__main__", "_pb2", "_pb2_grpc")):
                import_module(module.name)
        ours = [
            each
            for each in _subclasses(Factory)
            if each.__module__.startswith("centrifugo_tx")
        ]
        self.assertGreater(len(ours), 5)
        self.assertEqual([each for each in ours if each.noisy], [])


def _subclasses(of: type[Any]) -> Iterator[type[Any]]:
    for each in of.__subclasses__():
        yield each
        yield from _subclasses(each)


class ConsoleTests(LogCase):
    """Lines for a terminal."""

    def test_line(self) -> None:
        """Time, a colored mark, message, fields."""
        self.logger(colored=True).warn("said {what}", what="a")
        self.assertRegex(
            self.stream.getvalue(),
            r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \x1b\[33m\[WRN\]\x1b\[0m said a "
            r"\x1b\[36mwhat=\x1b\[0ma\n$",
        )

    def test_failure(self) -> None:
        """A traceback follows on lines of its own."""
        log = self.logger(colored=True)
        try:
            raise ValueError("broken")
        except ValueError:
            log.failure("it went wrong")
        self.assertIn("ValueError: broken", self.stream.getvalue())


class FileTests(SynchronousTestCase):
    """Where lines go."""

    def test_append(self) -> None:
        """A file is appended to."""
        path = Path(self.mktemp())
        path.write_text("before\n")
        with open_log(str(path)) as stream:
            Logger("a", observer=observer("info", stream, False)).info("said")
        self.assertEqual(len(path.read_text().splitlines()), 2)

    def test_gone(self) -> None:
        """A stream that is gone does not stop the server."""
        stream = StringIO()
        write = observer("info", stream, False)
        stream.close()
        event: LogEvent = {"log_time": 0.0, "log_format": "said", "log_namespace": "a"}
        write(event)
        self.assertTrue(stream.closed)


class RecordTests(LogCase):
    """Events that come from another process."""

    def sent(self, colored: bool) -> None:
        """Log a failure, by way of JSON, in another process than it happened in."""

        def receive(event: LogEvent) -> None:
            record = json.loads(json.dumps(to_record(event)))
            observer("trace", self.stream, colored)(from_record(record, worker=2))

        log = Logger("a", observer=LogPublisher(receive))  # type: ignore[arg-type]
        log.warn("{a} went", a="b", odd={1})
        log.debug("frame", log_frame=True)
        try:
            raise ValueError("broken")
        except ValueError:
            log.failure("it went wrong")

    def test_same(self) -> None:
        """They look like those of this process, except for added fields."""
        self.sent(colored=False)
        warned, traced, failed = self.lines()
        self.assertEqual(traced["level"], "trace")
        self.assertEqual((warned["level"], warned["message"]), ("warn", "b went"))
        self.assertEqual((warned["a"], warned["odd"]), ("b", "{1}"))
        self.assertEqual((warned["worker"], failed["worker"]), (2, 2))
        self.assertEqual(
            (failed["level"], failed["message"]), ("fatal", "it went wrong")
        )
        self.assertIn("ValueError: broken", failed["error"])

    def test_colored(self) -> None:
        """On a terminal the traceback is there, too."""
        self.sent(colored=True)
        self.assertIn("ValueError: broken", self.stream.getvalue())
