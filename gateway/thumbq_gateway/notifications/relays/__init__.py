"""One stream of notifications from the server, fanned out to any number of clients."""
