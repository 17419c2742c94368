"""One file per foreign format of workflows, found by itself; what they share begins with an underscore."""
