"""SignalR hubs: what the workers and pages of Modelibr speak, beside the gateway's own streams."""
