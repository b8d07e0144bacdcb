"""The other nodes: which there are, and how commands and questions reach them."""
