"""What all tests share, notebooks under nbval included: kernels that pytest starts inherit this environment."""

import os

os.environ["TQDM_DISABLE"] = "1"  # progress bars are no part of a notebook's outputs
# On a machine that is busy, threads wait for each other at every layer: small networks then train 10 times slower
os.environ.setdefault("OMP_NUM_THREADS", "1")

try:
    from hypothesis import settings
except ImportError:  # a student's environment has no test extra
    pass
else:
    # The same examples in every run, so that a verdict does not depend on luck; no deadline on a busy machine
    settings.register_profile("course", derandomize=True, deadline=None)
    settings.load_profile("course")
