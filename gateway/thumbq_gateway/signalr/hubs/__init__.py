"""The hubs: what clients may call, and what they are sent."""
