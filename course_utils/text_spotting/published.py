"""What others have reported, with the place where it stands and what of it can be compared."""

from typing import NamedTuple


class Published(NamedTuple):
    what: str
    figure: str
    source: str
    ours: str


FIGURES = (
    Published(
        "score of the 2020 video track",
        "accuracy / energy, less accurate than the sample solution: out",
        "rules; the quotient: referee, lpcvc/LPCVC2020/scoring.py",
        "the same quotient, modelled joules",
    ),
    Published(
        "YOLOv5s in int8 on a Raspberry Pi",
        "3.9 frames/s at 640 pixels, 8.5 at 416",
        "VITA-Group/21LPCV-UAV-Solution, PROGRESS.md",
        "not comparable: our networks are far smaller, and run on another processor",
    ),
    Published(
        "subnetworks in one Once-for-All network",
        "> 10¹⁹; 80.0% on ImageNet below 600 M MACs",
        "Cai and others 2020, abstract",
        "not comparable: we train three widths apart",
    ),
    Published(
        "E²VTS",
        "'a competitive tradeoff', pruned and quantized, frames chosen first",
        "its abstract",
        "the same three levers, measured one by one",
    ),
)
