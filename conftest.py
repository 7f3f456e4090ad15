"""What all tests share, notebooks under nbval included: kernels that pytest starts inherit this environment."""

import os

os.environ["TQDM_DISABLE"] = "1"  # progress bars are no part of a notebook's outputs

try:
    from hypothesis import settings
except ImportError:  # a student's environment has no test extra
    pass
else:
    # The same examples in every run, so that a verdict does not depend on luck; no deadline on a busy machine
    settings.register_profile("course", derandomize=True, deadline=None)
    settings.load_profile("course")
