"""How many processors there are for a command."""

import os


def usable_processors() -> int:
    """Return how many processors this process may use: in a container, a job or under taskset a part of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
