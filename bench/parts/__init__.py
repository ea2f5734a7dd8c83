"""What is measured: one module a subject, each a list of parts."""
