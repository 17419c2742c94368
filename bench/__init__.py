"""Measurements: the engine beside its peers and the floor. They assert nothing; see docs/performance.md."""
