"""SignalR hubs: the protocol of the workers and pages of Modelibr."""
