"""Streams of the server that the gateway reads only while a client wants them: the queue's state, and progress."""
