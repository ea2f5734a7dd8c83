"""Bodies of requests: how they are read, what they may take, and what is left of them."""
