"""What an operator does with a running queue: look, steer, and give out keys."""
