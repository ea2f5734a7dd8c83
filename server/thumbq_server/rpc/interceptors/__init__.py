"""What every call passes through after the door of `access`: what the call may be (guard), and how many (limits)."""
