"""A small checkout service with a real fault, for demonstrations and tests: processes, a log, a database."""
