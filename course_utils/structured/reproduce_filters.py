"""Which filters stay: the group lasso's, as many drawn at random, and as many from the start.

All are trained on as many digits, and in the end alike. The random twin of a network that the lasso narrowed has at the
same moments the same numbers of filters. Z. Liu et al., Rethinking the Value of Network Pruning, ICLR 2019
(arXiv:1810.05270), asks the same of larger networks.
"""

from dataclasses import asdict, dataclass
from functools import partial

from course_utils.data import Digits, full_mnist
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.structured.lenet import narrow_lenet, train_random_cuts
from course_utils.structured.reproduce import from_scratch, go_on, with_lasso
from course_utils.structured.timing import FULL


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand; λ, parts and epochs are those of reproduce.py."""

    narrowed: tuple[tuple[int, int], ...] = ((2, 8),)  # filters of conv1 and conv2: by the lasso, and at random
    scratch: tuple[tuple[int, int], ...] = ((3, 12), (5, 19))  # from the start; two others in reproduce.py
    strengths: tuple[float, float] = (0.15, 0.6)
    parts: int = 11
    images: int = 4992
    epochs: int = 10


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    work = []
    for a, b in dict.fromkeys((*settings.narrowed, *settings.scratch)):
        for seed in range(seeds):
            name, here = f"{a}—{b}/seed {seed}", partial(Piece, seed=seed)
            if (a, b) in settings.narrowed:
                work.append(here(f"{name}/lasso", with_lasso, (seed, a, b)))
                work.append(here(f"{name}/random", at_random, (seed,), needs=(f"{name}/lasso",)))
            if (a, b) in settings.scratch:
                work.append(here(f"{name}/scratch", from_scratch, (seed, a, b)))
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """For each seed the errors by way and width, and how filters went."""
    ways = {"lasso": settings.narrowed, "random": settings.narrowed, "scratch": settings.scratch}
    return {
        "experiment": "which filters stay",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "runs": [
            {"seed": seed}
            | {way: {f"{a}—{b}": done[f"{a}—{b}/seed {seed}/{way}"] for a, b in narrow} for way, narrow in ways.items()}
            for seed in done.seeds()
        ],
    }


run = Experiment("filters", Settings, load, pieces, collect).run


def at_random(digits: Digits, settings: Settings, seed: int, lasso: Values) -> Values:
    """The same wide network without a penalty; as many filters go in each part as the lasso's, but drawn at random."""
    schedule = [part["filters"] for part in lasso["parts"]]
    first = narrow_lenet(FULL, seed).state_dict()
    state, parts = train_random_cuts(first, digits.train, schedule, images=settings.images, seed=seed)
    return go_on(state, parts, settings.epochs, digits, seed)
