"""Calls of producers and workers: alone, and together with others."""
