"""Connections: their commands, subscriptions, deadlines and refreshes."""
