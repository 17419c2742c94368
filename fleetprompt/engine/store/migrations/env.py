"""What alembic runs for a command: the migrations, on the connection that `run` was given."""

from __future__ import annotations

from alembic import context

from fleetprompt.engine.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
