"""What the console knows and shows, in plain Python: no Textual, no terminal."""
