"""Gates that skip blocks, on MNIST: learned by supervision, by REINFORCE, and by the exact gradient of the reward.

Published: SkipNet (ECCV 2018), 30 to 90% less computation. Ours: four gates on a trunk that stays as it is, so that
the rewards of all 16 settings can be tabulated. Controls are the best fixed setting, and all blocks open.
"""

from dataclasses import asdict, dataclass

from course_utils.data import Digits, full_mnist
from course_utils.dynamic import gates
from course_utils.dynamic.networks import GatedNet
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, set_seed, train

PAPER = {"source": "X. Wang et al., arXiv:1711.09485, abstract", "less_computation": [30, 90]}


@dataclass(frozen=True)
class Settings:
    price: float = 0.1  # of all gated blocks, in nats
    few_digits: int = 20_000  # that trunk and gates learn from
    trunk_epochs: int = 6
    batch_size: int = 125
    lr: float = 2e-3  # of Adam, for the trunk; falls to 0 along a cosine
    gate_steps: int = 1500
    through_steps: int = 200
    gate_lr: float = 3e-2
    gate_batch: int = 250


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    return [Piece(f"seed {seed}", train_gates, (seed,), seed=seed) for seed in range(seeds)]


def train_gates(digits: Digits, settings: Settings, seed: int) -> Values:
    """A trunk, and gates that learn in each way; all rewards of all settings are computed once."""
    set_seed(seed)
    model = GatedNet()
    some, price = digits.train.subset(slice(0, settings.few_digits)), settings.price
    train(
        model, some, epochs=settings.trunk_epochs, lr=settings.lr, batch_size=settings.batch_size, seed=seed,
        schedule=cosine, progress=False,
    )  # fmt: skip
    pooled, losses, _ = gates.tables(model, some)
    reward = gates.rewards(losses, price)
    test = gates.tables(model, digits.test)
    recipe = settings.gate_lr, settings.gate_batch, seed
    trained = {
        name: gates.train_by_reward(update, pooled, reward, settings.gate_steps, *recipe)
        for name, update in gates.UPDATES.items()
    }
    trained |= {
        kind: gates.train_through(model, some, pooled, kind, price, settings.through_steps, *recipe)
        for kind in ("supervised", "supervised, logistic noise", "soft")
    }
    by_reward = gates.rewards(test[1], price)
    validation = gates.rewards(gates.tables(model, digits.validation)[1], price)
    best = int(validation.mean(dim=0).argmax())
    opened = gates.settings_of(4).float().mean(dim=1)
    return {
        "ways": {
            name: gates.measured(model, gate, test, digits.test)
            | {
                "reward": gates.mean_reward(gate, test[0], by_reward),
                "training_reward": gates.mean_reward(gate, pooled, reward),
            }
            for name, gate in trained.items()
        },
        "fixed": {
            "setting": best, "open": float(opened[best]), "reward": float(by_reward.mean(dim=0)[best]),
            "errors": (~test[2]).sum(dim=0).tolist(), "opened": opened.tolist(),
            "rewards": by_reward.mean(dim=0).tolist(), "training_rewards": reward.mean(dim=0).tolist(),
        },
        "best_of_each": float(by_reward.max(dim=1).values.mean()),
        "noise": gates.gradient_noise(pooled, reward, 200, settings.gate_batch, seed),
        "race": gates.skipping_race(model, trained["exact"], digits.test.images[:1000]),
    }  # fmt: skip


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    return {
        "experiment": "gates that skip blocks on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "the fixed setting on validation digits; epochs and rates were not tuned",
        **done.origin(),
        "paper": PAPER,
        "gates": [{"seed": seed, **done[f"seed {seed}"]} for seed in done.seeds()],
    }


run = Experiment("gates", Settings, load, pieces, collect).run
