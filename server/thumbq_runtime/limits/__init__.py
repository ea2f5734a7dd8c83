"""How often a caller may call, and how much it may have: the rules of the server and of the gateway."""
