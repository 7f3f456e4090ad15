"""The coin in place of the sign: its mean and its gradient, when it is tossed, and verdicts that can say no."""

import pytest
import torch
import torch.nn.functional as F

from course_utils.binary import BinaryConvNet, figures, measure_norms
from course_utils.binary import reproduce_coin as coin
from course_utils.training import errors


def test_coins_mean_is_hardtanh_and_its_gradient_goes_straight_through():
    torch.manual_seed(0)
    real = torch.tensor([-1.5, -0.6, 0.0, 0.3, 2.0], requires_grad=True)
    tossed = coin.Coin.apply(real.expand(20_000, 5))
    assert set(tossed.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(tossed.mean(0), F.hardtanh(real), atol=0.03, rtol=0)
    (gradient,) = torch.autograd.grad(tossed.sum(), real)
    assert gradient.tolist() == [0, 20_000, 20_000, 20_000, 0]


@pytest.mark.parametrize(("name", "noise"), coin.NOISES.items())
def test_noise_is_drawn_only_while_it_is_asked_for(name, noise):
    torch.manual_seed(0)
    model = coin.NoisyBinary(30, noise).eval()
    images = torch.rand(20, 1, 28, 28)
    still = "coin" not in (noise.weights, noise.activations) and not noise.dropout and not noise.turned
    assert torch.equal(model(images), model(images)) == still
    model.coin, model.disturbed = "sign", False
    assert torch.equal(model(images), model(images))


def test_the_mean_of_the_coin_can_stand_for_it():
    torch.manual_seed(0)
    model = coin.NoisyBinary(30, coin.NOISES["coin for both"]).eval()
    model.coin = "mean"
    other = coin.NoisyBinary(30, coin.NOISES["mean of the coin for both"]).eval()
    other.load_state_dict(model.state_dict())
    images = torch.rand(20, 1, 28, 28)
    assert torch.equal(model(images), other(images))


def test_noise_on_activations_is_as_strong_as_it_says():
    torch.manual_seed(0)
    model = coin.NoisyBinary(30, coin.Noise(turned=0.1))
    real = torch.randn(100_000)
    assert (model.disturb(real) != torch.where(real >= 0, 1, -1)).float().mean() == pytest.approx(0.1, abs=0.005)


def test_each_draw_of_weights_is_one_network_with_norms_of_its_own(few_digits):
    """Weights of ±1 are drawn as they stand: all draws are then the network with signs, with norms measured anew."""
    torch.manual_seed(0)
    model = coin.NoisyBinary(30, coin.NOISES["coin for weights"])
    for weight in model.linears:
        weight.data = torch.where(weight.data > 0, 1.0, -1.0)
    before = [norm.running_var.clone() for norm in model.norms]
    drawn = coin.errors_of_draws(model, few_digits.train.images, few_digits.test, 3)
    assert all(torch.equal(norm.running_var, old) for norm, old in zip(model.norms, before, strict=True))
    model.coin = "sign"
    measure_norms(model, few_digits.train.images)
    assert drawn == [errors(model, few_digits.test)] * 2


def test_norms_are_measured_over_all_images():
    torch.manual_seed(0)
    model, images = BinaryConvNet(), torch.rand(1000, 1, 28, 28)
    measure_norms(model, images)
    assert not model.training
    padded = F.pad(torch.where(images > 0.5, 1.0, -1.0), (2, 2, 2, 2), value=-1.0)
    sums = F.conv2d(padded, torch.where(model.filters[0] >= 0, 1.0, -1.0))
    torch.testing.assert_close(model.norms[0].running_mean, sums.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_verdicts_are_given_only_where_every_seed_says_so(few_digits, tmp_path, own_cache):
    settings = coin.Settings(hidden=12, epochs=1, rates=(3e-2,), draws=2)
    results = coin.run(2, tmp_path, few_digits, settings)
    assert results["seeds"] == {"asked": 2, "has": 2} and list(results["noises"]) == list(coin.NOISES)
    figures.coins(results)
    results["noises"]["sign"]["runs"] = [{"test_errors": 80, "train_errors": 0}] * 2
    results["noises"]["mean of the coin for both"]["runs"] = [{"test_errors": 90, "train_errors": 0}] * 2
    both = results["noises"]["coin for both"]["runs"]
    for signs, mean, said in (
        ((79, 70), (81, 90), ["fewer errors", *["more errors"] * 2]),
        ((80, 70), (81, 79), [*[""] * 2, "more errors"]),
    ):
        for run, one, other in zip(both, signs, mean, strict=True):
            run |= {"test_errors": one, "test_errors_mean_of_draws": other, "test_errors_mean_of_the_coin": other + 20}
        rows = [row for row in figures.coin_verdicts(results).rows if row[0] == "coin for both"]
        assert [row[-1] for row in rows] == [each or "no sign that all share" for each in said]
