"""How many examples a property is tried on: few and always the same ones in the suite, many random ones in ``make fuzz``."""

import os

from hypothesis import settings

TIMES = int(os.environ.get("HARNESS_FUZZ") or 0)
"""0 in the suite, where the examples follow from the test alone; else how many times as many, at random."""

settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile("fuzz" if TIMES else "suite")


def examples(number: int, **options) -> settings:
    """Return the settings of a test that is tried on so many examples in the suite."""
    return settings(max_examples=number * max(1, TIMES), **options)
