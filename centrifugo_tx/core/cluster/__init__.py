"""The other nodes: how they are known, commanded and surveyed."""
