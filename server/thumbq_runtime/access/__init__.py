"""Roles, and the form of keys, for the server, the gateway and the command line."""
