"""What the tests of the worker may ask for."""

from worker_house import house, quiet_redis

__all__ = ["house", "quiet_redis"]
