"""Faults run against the pair as `make run` starts it."""

from tests.make_run import environment, start_run

__all__ = ["environment", "start_run"]
