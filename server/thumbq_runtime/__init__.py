"""What the server, the gateway and the launcher have in common; it imports none of them."""
