"""How often a caller may call: the rules of the server and of the gateway."""
