"""What all tests share, notebooks under nbval included: kernels that pytest starts inherit this environment."""

import os

os.environ["TQDM_DISABLE"] = "1"  # progress bars are no part of a notebook's outputs
