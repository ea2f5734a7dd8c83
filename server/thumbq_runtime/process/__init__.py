"""The life of a process: its start and its end, its event loop, and what it does by itself."""
