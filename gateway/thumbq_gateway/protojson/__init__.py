"""Protobuf messages to JSON and back, in the spelling of the documented API."""
