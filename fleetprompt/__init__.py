"""FleetPrompt: a terminal operator console and a durable engine for fleets of AI agents."""

__version__ = "0.1.0"
