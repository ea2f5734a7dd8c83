"""What the server does by itself: the duties, the janitor that runs them, and whether it is ready."""
