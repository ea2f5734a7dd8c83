"""Certificates: those that a program shows, and a small authority that makes them for a test set-up."""
