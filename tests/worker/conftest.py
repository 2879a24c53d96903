"""What the tests of the worker may ask for."""

from tests.worker_house import busy_house, house, quiet_redis, short_home

__all__ = ["busy_house", "house", "quiet_redis", "short_home"]
