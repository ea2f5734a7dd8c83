"""The subjects of the bench: the queues and the event servers that are compared."""
