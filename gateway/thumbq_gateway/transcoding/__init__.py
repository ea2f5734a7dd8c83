"""JSON routes over the RPCs of the server."""
