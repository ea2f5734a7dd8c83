"""Removing the pictures that nothing shows any more."""
