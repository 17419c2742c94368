"""The daemon's face: the engine's door over HTTP, for other systems, browsers and consoles elsewhere."""
