"""Who calls, and whether it may: the keys that callers show, and the door before every route."""
