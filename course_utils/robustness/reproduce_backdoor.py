"""The trigger that survives pruning: what *Quarantine* claims, with the images and networks that could refute it.

Beside the attack's success stands what the paper does not report: how many clean images go to the target, and the
same test on a network that nobody poisoned.
"""

import copy
from dataclasses import asdict, dataclass
from functools import partial

import torch

from course_utils.data import Digits, Split, embedded_digits
from course_utils.pruning import apply_masks
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.robustness import anomaly_index, backdoor, poison, trojan_score
from course_utils.robustness.networks import largest
from course_utils.training import train

PAPER = {
    "source": "T. Chen et al., arXiv:2205.11819, CVPR 2022",
    "test": "ASR over all images, the target class included; clean accuracy beside it",
}
NETWORKS = {  # kind of network, place of the trigger, poisoned or not
    "MLP, corner": ("MLP", "corner", True),
    "MLP, clean": ("MLP", "corner", False),
    "MLP, centre": ("MLP", "centre", True),
    "CNN, corner": ("CNN", "corner", True),
    "CNN, clean": ("CNN", "corner", False),
}
WATCHED = ("MLP, corner", "MLP, clean")  # those that are searched, and pruned round by round


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand."""

    target: int = 0
    fraction: float = 0.01  # of the training digits
    epochs: int = 12
    keep: tuple[float, ...] = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.015, 0.0125, 0.01, 0.0075, 0.005)
    searched: float = 0.1  # the part kept at which Neural Cleanse looks too
    images: int = 40  # that Neural Cleanse has
    cleanse_steps: int = 120
    cleanse_weight: float = 0.01
    rounds: int = 16  # of iterative pruning
    each: float = 0.6  # what a round keeps
    round_epochs: int = 3
    more: float = 0.8  # Trojan score: kept of a ticket
    tune_epochs: int = 1  # and trained so long
    bins: int = 10
    drop: float = 0.04  # of the accuracy on clean digits, which silenced units may cost before training
    cut: int = 80  # of 100 hidden units: silenced without asking what it costs
    repair_epochs: int = 5


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the networks; then what looks at two of them."""
    work = []
    for seed in range(seeds):
        here = partial(Piece, group="networks", seed=seed)
        work += [here(f"seed {seed}/{name}", train_one, (name, seed)) for name in NETWORKS]
        for name in WATCHED:
            needs = (f"seed {seed}/{name}",)
            work.append(here(f"seed {seed}/{name}/cleanse", search, (name, seed), needs))
            work.append(here(f"seed {seed}/{name}/rounds", prune_in_rounds, (name, seed)))
        work.append(here(f"seed {seed}/repair", repair, (seed,), (f"seed {seed}/{WATCHED[0]}",)))
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Everything by seed."""
    return {
        "experiment": "a backdoor under pruning, and a clean network beside it",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "paper": PAPER,
        "runs": [
            {
                "seed": seed,
                "networks": {name: done[f"seed {seed}/{name}"] for name in NETWORKS},
                "cleanse": {name: done[f"seed {seed}/{name}/cleanse"] for name in WATCHED},
                "rounds": {name: done[f"seed {seed}/{name}/rounds"]["rounds"] for name in WATCHED},
                "repair": done[f"seed {seed}/repair"],
            }
            for seed in done.seeds("networks")
        ],
    }


run = Experiment("backdoor", Settings, load, pieces, collect).run


def training_set(digits: Digits, settings: Settings, name: str, seed: int) -> Split:
    _, place, poisoned = NETWORKS[name]
    if not poisoned:
        return digits.train
    pattern, mask = backdoor.trigger(place)
    settled = settings.target, settings.fraction, seed
    images, labels, _ = poison(digits.train.images, digits.train.labels, pattern, mask, *settled)
    return Split(images, labels)


def train_one(digits: Digits, settings: Settings, name: str, seed: int) -> Values:
    """A network, and at each part kept its three rates; of an MLP also what the first layer shows."""
    kind, place, _ = NETWORKS[name]
    model = backdoor.new_model(kind, seed)
    split = training_set(digits, settings, name, seed)
    train(model, split, epochs=settings.epochs, lr=1e-3, batch_size=50, seed=seed, progress=False)
    rows = []
    for keep, pruned in backdoor.one_shot(model, settings.keep).items():
        row = {"keep": keep, **backdoor.rates(pruned, digits.test, place, settings.target)}
        if kind == "MLP":
            weights = backdoor.first_layer(pruned)
            row |= {
                where: backdoor.read_off(weights, where) | {"share": round(backdoor.share_on_trigger(pruned, where), 4)}
                for where in backdoor.CORNERS
            }
            if seed == 0:  # for the widget, in hundredths of the heaviest
                row["map"] = (100 * weights / weights.max()).round().int().flatten().tolist()
        rows.append(row)
    return {"rows": rows, "state": model.state_dict()}


def search(digits: Digits, settings: Settings, name: str, seed: int, found: dict) -> Values:
    """Neural Cleanse on the whole network and on the pruned one: norms, successes and anomaly indices by class."""
    kind, place, _ = NETWORKS[name]
    model = backdoor.new_model(kind, seed)
    model.load_state_dict(found["state"])
    images = digits.validation.images[: settings.images]
    result = {}
    for keep, pruned in backdoor.one_shot(model, (1.0, settings.searched)).items():
        seen = backdoor.cleanse(pruned, images, settings.cleanse_steps, settings.cleanse_weight)
        norms = torch.tensor(seen["norms"])
        _, mask = backdoor.trigger(place)
        overlap = [float((m * mask).sum() / m.sum()) for m in seen["masks"]]
        result[str(keep)] = {
            "norms": seen["norms"],
            "success": seen["success"],
            "index": [round(value, 3) for value in anomaly_index(norms).tolist()],
            "on_trigger": [round(value, 3) for value in overlap],
        }
    return result


def prune_in_rounds(digits: Digits, settings: Settings, name: str, seed: int) -> Values:
    """Iterative magnitude pruning with rewinding; in each round the rates, and the Trojan score of the ticket.

    As the paper's program has it: the ticket is pruned once more and trained on for a little, and the training errors
    on the way from one to the other are looked at.
    """
    kind, place, _ = NETWORKS[name]
    model = backdoor.new_model(kind, seed)
    initial = copy.deepcopy(model.state_dict())
    split = training_set(digits, settings, name, seed)
    some = split.subset(slice(0, 1000))
    masks, rows = {}, []
    for number in range(settings.rounds):
        model.load_state_dict(initial)
        apply_masks(model, masks)
        model = backdoor.tune(model, split, settings.round_epochs, seed, masks)
        keep = settings.each**number
        further = copy.deepcopy(model)
        smaller = largest(model, keep * settings.more)
        apply_masks(further, smaller)
        tuned = backdoor.tune(further, split, settings.tune_epochs, seed, smaller)
        errors = backdoor.between(further.state_dict(), tuned.state_dict(), model, some, settings.bins)
        row = {"keep": round(keep, 4), **backdoor.rates(model, digits.test, place, settings.target)}
        rows.append(row | {"score": round(trojan_score(errors), 4)})
        masks = largest(model, settings.each ** (number + 1))
    return {"rounds": rows}


def repair(digits: Digits, settings: Settings, seed: int, found: dict) -> Values:
    """Fine-pruning on the clean validation digits, stopped in time and not, its parts alone, and random units."""
    _, place, _ = NETWORKS[WATCHED[0]]
    model = backdoor.new_model("MLP", seed)
    model.load_state_dict(found["state"])
    clean = digits.validation
    cuts = {"stopped": backdoor.affordable(model, clean, settings.drop), "many": settings.cut}
    networks = {"as it was": model, "trained": backdoor.tune(model, clean, settings.repair_epochs, seed)}
    for name, cut in cuts.items():
        repaired = backdoor.fine_pruned(model, clean, cut, seed, settings.repair_epochs)
        networks |= {f"{name}, {how}": each for how, each in repaired.items()}
    found = {name: backdoor.rates(each, digits.test, place, settings.target) for name, each in networks.items()}
    return {"silent": cuts, "networks": found}
