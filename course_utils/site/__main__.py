"""`python -m course_utils.site` builds the site."""

import sys
from pathlib import Path

from course_utils.site.build import build_site
from course_utils.units import ROOT

if __name__ == "__main__":
    sys.exit(build_site(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build"))
