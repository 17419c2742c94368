"""What holds for all tests: how they draw examples, on a machine of any speed."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes, or drawing it, says something about the machine and nothing about what is tested. Who names
# health checks of its own in `@settings` has to name this one, too: that list is in place of this one.
settings.register_profile("fleet", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("fleet")
