"""Everything that needs no torch: errors, configuration, files, registries, logging."""

import os

# Read by OpenMP when torch is imported, which is after this. Threads that wait for others by spinning take the core
# from the very one that they wait for as soon as anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
