"""What a flood by one address costs the callers of another."""
