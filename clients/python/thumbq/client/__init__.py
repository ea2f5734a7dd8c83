"""A client for applications: every call that they need, in plain types."""
