"""Hypothesis under the same settings everywhere: the same examples each time, no deadline on a busy host."""

from hypothesis import settings

settings.register_profile("campaign", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("campaign")
