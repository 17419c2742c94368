"""What agents and `tool` steps can do in the world: one file per family, and the policy that says what may be done."""
