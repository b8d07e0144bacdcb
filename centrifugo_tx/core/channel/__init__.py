"""One channel on this node: who is subscribed, and how publications reach them."""
