"""What step types and tools share of the world outside: processes, HTTP, Python code of users, and words about it."""
