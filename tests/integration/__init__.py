"""Tests with real servers, clients and networks, each in processes of their own."""

import signal

# A shell that starts the tests in the background lets them ignore SIGINT, and so would
# the processes that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
