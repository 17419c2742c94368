"""A console whose engine is a daemon somewhere else, reached over HTTP."""
