"""What all tests share, notebooks under nbval included: kernels that pytest starts inherit this environment."""

import os

os.environ["TQDM_DISABLE"] = "1"  # progress bars are no part of a notebook's outputs
# On a machine that is busy, threads wait for each other at every layer: small networks then train 10 times slower
os.environ.setdefault("OMP_NUM_THREADS", "1")
