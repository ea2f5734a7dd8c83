"""What commands print: tables for people, JSON for scripts, and progress bars."""
