"""What a request says of itself: its caller, its ticket, the numbers in its path."""
