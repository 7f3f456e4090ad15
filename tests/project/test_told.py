"""What students missed is told where they look for it."""

import pytest

from course_utils import binary, deep_compression
from course_utils.units import ROOT, solution_source

START = (ROOT / "labs" / "START.md").read_text(encoding="utf-8")


def lab(topic: str) -> str:
    return solution_source(topic).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (deep_compression.decompress.__doc__, "bitstring.from_bytes"),
        (lab("deep_compression"), "`bitstring.from_bytes` unpacks them"),
        (binary.xnor_popcount_matmul.__doc__, "np.bitwise_count"),
        (lab("binary"), "`np.bitwise_count`"),
        (lab("binary"), "5.5, 5.6 and 5.7 use earlier ones"),
        (lab("moe"), "multiplications that are *used*"),
        (lab("moe"), "log_p.detach()"),
        (lab("moe"), "the fall is steepest between a pull of about 0.5 and 0.8"),
        (lab("lottery"), "In its first steps the dense network is ahead; then the ticket overtakes it"),
        (START, "In a few exercises one law is worth a part of them"),
        (START, "The sums above are those of the exercises"),
    ],
)
def test_what_students_missed_is_told(place, words):
    assert words in " ".join(place.split())
