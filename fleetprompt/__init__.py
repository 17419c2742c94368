"""FleetPrompt: a durable workflow engine and its command line, for fleets of AI agents."""

__version__ = "0.1.0"
