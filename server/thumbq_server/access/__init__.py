"""Who calls, and whether it may: keys, the door before every method, and the calls that end with their key."""
