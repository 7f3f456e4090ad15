"""Training for the price of bits, in small: the file, what it costs by the price list, and what the price does."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_utils.deep_compression import reproduce_rate as rate
from course_utils.deep_compression.arithmetic import Decoder, Encoder

TINY = rate.Settings(batch_size=50, teacher_epochs=1)
SMALL = {
    "lenet5": rate.Recipe((3, 4, 12), (1, 1, 1, 1), 1, 2, cut_every=1, batch_size=50),
    "lenet_300_100": rate.Recipe((12, 10), (1, 1, 1), 1, 2, cut_every=1, batch_size=50),
}
PRICES = {"lenet5": (1e-6, 1e-5), "lenet_300_100": (1e-6,)}
SHAPES = [(5, 1, 784), (6, 3, 25), (7, 4, 16), (10, 9, 1), (10, 1, 1)]


def draw(shape: rate.Shape, seed: int, part: float = 0.2) -> torch.Tensor:
    """Indices of which this part is not 0, most of them small and a few beyond `LARGEST`."""
    generator = np.random.default_rng(seed)
    sizes = generator.geometric(0.5, shape) + 20 * (generator.random(shape) < 0.02)
    signs = generator.choice([-1, 1], shape)
    return torch.tensor(sizes * signs * (generator.random(shape) < part)).float()


@pytest.mark.usefixtures("own_cache")
def test_tiny_run_stores_every_file(few_digits, tmp_path, monkeypatch):
    monkeypatch.setattr(rate, "RECIPES", SMALL)
    monkeypatch.setattr(rate, "PRICES", PRICES)
    monkeypatch.setattr(rate, "LONGER", {"lenet5": (1e-6, 3)})
    results = rate.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "rate.json").read_text()) == json.loads(json.dumps(results))
    for name, dense in (("lenet5", 431_080), ("lenet_300_100", 266_610)):
        runs = results["runs"][name]
        assert [each for each in runs if "," not in each] == [f"{price:g}" for price in PRICES[name]]
        for training, (run,) in runs.items():
            assert run["ratio"] == pytest.approx(4 * dense / run["bytes"], abs=0.01)
            assert len(run["stages"]) == 3 + training.endswith("3 epochs")
            assert run["stages"][-1]["bits"] < run["stages"][0]["bits"]
            assert run["stages"][-1]["validation_errors"] == run["validation_errors"] <= 200
            assert run["stages"][-1]["bits"] / 8 + 15 == pytest.approx(run["bytes"], rel=0.01, abs=8)
            assert sum(run["stages"][-1]["histogram"]) <= sum(run["stages"][0]["histogram"])


@pytest.mark.parametrize("widths", [(3, 4, 6), (8, 5)])
def test_a_file_gives_back_the_network_and_nothing_else_is_needed(widths):
    model = rate.network(widths)
    shapes = rate.shapes(model)
    indices = [draw(shape, seed) for seed, shape in enumerate(shapes)]
    steps = [2.0**-seed for seed in range(len(shapes))]
    content = rate.write(indices, steps)
    read = rate.read(content)
    for parameter, index, step in zip(read.parameters(), indices, steps, strict=True):
        assert torch.equal(parameter.reshape(index.shape), index * step)
    images = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        for parameter, index, step in zip(model.parameters(), indices, steps, strict=True):
            parameter.copy_((index * step).view(parameter.shape))
        assert torch.equal(model.eval()(images), read(images))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_price_list_adds_up_to_what_the_coder_writes(shape):
    for part in (0.0, 0.02, 0.5, 1.0):
        indices = draw(shape, 1, part).clamp(-rate.LARGEST, rate.LARGEST)
        encoder = Encoder()
        symbols = rate.code_indices(encoder, shape, indices.long().reshape(len(indices), -1).numpy())
        content = encoder.finish()
        assert 8 * len(content) == pytest.approx(rate.PriceList(indices).total, rel=0.01, abs=16)
        assert np.array_equal(rate.code_indices(Decoder(content), shape), symbols)


@pytest.mark.parametrize("shape", [(60, 10, 25), (20, 1, 784), (200, 80, 1)])
def test_a_slope_is_what_one_more_step_costs(shape):
    """The last index of all is in no other's context, so that another one in its place costs its price, no more."""
    indices = draw(shape, 2, 0.3).clamp(-4, 4)
    for near, far in ((0, 1), (1, 2), (2, 3), (0, -1), (-1, -2), (-2, -3)):
        totals = []
        for index in (near, far):
            indices[-1, -1, -1] = index
            totals.append(rate.PriceList(indices).total)
        slope = rate.PriceList(indices).slope(torch.full(shape, (near + far) / 2))[-1, -1, -1]
        assert float(slope) == pytest.approx(max(totals[1] - totals[0], rate.FLOOR), abs=0.1)


def test_a_network_keeps_its_predictions_when_dead_units_are_cut_out():
    torch.manual_seed(0)
    for model in (rate.network((6, 8, 10)), rate.network((20, 8))):
        latents = [p.detach().reshape(s) for p, s in zip(model.parameters(), rate.shapes(model), strict=True)]
        steps = [2.0**-5] * len(latents)
        latents[0][3:], latents[1][3:] = 0.015, 0  # rounds to 0
        latents[2][2] = latents[3][2] = 0
        latents[4][:, 5] = 0
        small = rate.cut(latents, steps)
        assert len(small[0]) == 3 and len(small[2]) == len(latents[2]) - 2
        images = torch.rand(4, 1, 28, 28)
        both = [rate.read(rate.write(rate.rounded(each, steps), steps))(images) for each in (latents, small)]
        torch.testing.assert_close(*both)


def test_a_price_that_kills_a_layer_is_refused():
    latents = [torch.zeros(4, 1, 784), torch.zeros(4, 1, 1), torch.ones(10, 4, 1), torch.ones(10, 1, 1)]
    with pytest.raises(ValueError, match="choose a lower one"):
        rate.cut(latents, [1.0] * 4)


def test_the_price_makes_the_file_smaller_than_the_same_training_without_it(few_digits):
    sizes = {}
    for price in (0.0, 1e-4):
        recipe = replace(SMALL["lenet_300_100"], dense_epochs=10, epochs=20, cut_every=10)
        indices, steps, stages = rate.train(few_digits, TINY, recipe, price, 0, None)
        sizes[price] = len(rate.write(indices, steps))
        assert stages[-1]["validation_errors"] < 150  # of 200; 180 is guessing
    assert sizes[1e-4] < 0.7 * sizes[0.0]
