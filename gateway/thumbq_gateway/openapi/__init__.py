"""The description of the JSON routes, for programs and for readers."""
