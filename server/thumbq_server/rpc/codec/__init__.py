"""Between what the engine says and the messages of the protocol, a module for each family of messages."""
