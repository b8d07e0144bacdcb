"""Exit codes of commands, and the exceptions that carry them."""

from ..protocol.errors import CentrifugoError

__all__ = [
    "CANNOT_CONNECT",
    "FAILED",
    "FOREIGN_ANSWER",
    "INTERRUPTED",
    "OK",
    "PIPE_CLOSED",
    "UNAUTHORIZED",
    "USAGE",
    "CommandFailed",
    "Refusal",
]

OK = 0
#: The server returned an error, or a command about files or tokens failed.
FAILED = 1
#: The command line or the configuration is wrong; nothing was sent.
USAGE = 2
#: No connection: refused, timed out, unknown host, failed TLS handshake.
CANNOT_CONNECT = 3
#: The server did not accept the key or the token.
UNAUTHORIZED = 4
#: The response is not from this API: wrong path, wrong port, another program.
FOREIGN_ANSWER = 5
#: Ctrl-C while waiting for an answer; as a shell counts signals.
INTERRUPTED = 130
#: The reader of standard output has gone, as in ``| head``.
PIPE_CLOSED = 141


class Refusal(CentrifugoError):
    """A command about files or tokens failed; the message is the reason."""


class CommandFailed(CentrifugoError):
    """A command that calls a server failed; has a one-line message and exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
