"""`python -m course_utils` is the `course` command."""

import sys

from course_utils.cli import main

if __name__ == "__main__":  # not in processes that are spawned from here
    sys.exit(main())
