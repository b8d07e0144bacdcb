"""One connection: its commands, its subscriptions, and what the server does to it."""
