"""Gives the tests a private thumbq: the fixture `thumbq_service`."""

pytest_plugins = ["thumbq.testing.fixtures"]
