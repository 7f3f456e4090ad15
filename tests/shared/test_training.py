"""The training loop: repeatable, with nothing left behind, and what its options say."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils import training
from course_utils.data import Split, embedded_digits
from course_utils.models import mlp
from course_utils.training import errors, limit_norms, logits_of, predict, set_seed, train


@pytest.fixture(scope="module")
def digits():
    whole = embedded_digits()
    return whole.train.subset(slice(300)), whole.validation.subset(slice(100))


def trained(digits, dropout=0.5, first=0, **options):
    set_seed(first)
    model = mlp(784, 20, 10, dropout=dropout)
    options = {"epochs": 3, "lr": 3e-3, "batch_size": 32, "progress": False} | options
    history = train(model, digits[0], digits[1], **options)
    return model, history


def same(a, b):
    return all(torch.equal(a.state_dict()[name], b.state_dict()[name]) for name in a.state_dict())


def test_training_learns(digits):
    model, history = trained(digits, dropout=0, epochs=10)
    assert history.train_loss[-1] < history.train_loss[0] / 3
    assert history.validation_errors[-1] == errors(model, digits[1]) < 30  # of 100; guessing gets 90 wrong
    assert history.kept_epoch == 10 and len(history.train_loss) == len(history.validation_errors) == 10
    assert not model.training


def test_same_seed_same_weights_whatever_happened_before(digits):
    one, history = trained(digits, seed=3, jitter=1)
    set_seed(0)
    model = mlp(784, 20, 10, dropout=0.5)
    torch.rand(5)  # moves the global generator, which dropout would otherwise use
    again = train(model, *digits, epochs=3, lr=3e-3, batch_size=32, seed=3, jitter=1, progress=False)
    assert same(one, model) and history == again
    assert not same(one, trained(digits, seed=4, jitter=1)[0])
    assert not same(one, trained(digits, seed=3, jitter=0)[0])


def test_global_generator_is_left_as_it_was(digits):
    set_seed(7)
    model = mlp(784, 20, 10, dropout=0.5)
    before = torch.get_rng_state()
    train(model, *digits, epochs=1, lr=1e-3, progress=False)
    assert torch.equal(before, torch.get_rng_state())


def test_set_seed_seeds_three_generators():
    import random

    import numpy as np

    def draw():
        set_seed(5)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()


def test_every_example_is_seen_once_an_epoch_under_its_own_index(digits):
    seen = []

    def loss(logits, labels, index):
        assert torch.equal(labels, digits[0].labels[index])
        seen.append(index)
        return F.cross_entropy(logits, labels)

    trained(digits, loss=loss, epochs=2, batch_size=32)
    assert [len(index) for index in seen] == ([32] * 9 + [12]) * 2
    first, second = torch.cat(seen[:10]), torch.cat(seen[10:])
    assert torch.equal(first.sort().values, torch.arange(300)) and torch.equal(second.sort().values, torch.arange(300))
    assert not torch.equal(first, second)


def test_one_epoch_of_one_batch_is_one_step_of_gradient_descent(digits):
    set_seed(0)
    model = mlp(784, 10)
    weight = model[1].weight.detach().clone().requires_grad_()
    inputs = digits[0].images.flatten(1)
    loss = F.cross_entropy(inputs @ weight.T + model[1].bias.detach(), digits[0].labels)
    (gradient,) = torch.autograd.grad(loss, weight)
    history = train(model, digits[0], epochs=1, lr=0.5, batch_size=300, optimizer=torch.optim.SGD, progress=False)
    assert torch.allclose(model[1].weight, weight - 0.5 * gradient, atol=1e-6)
    assert history.train_loss == [pytest.approx(loss.item(), rel=1e-5)]
    assert history.validation_errors == []


def test_train_loss_is_the_mean_over_examples_not_batches(digits):
    def loss(logits, labels, index):
        return logits.sum() * 0 + len(index)

    _, history = trained(digits, loss=loss, epochs=1, batch_size=200)
    assert history.train_loss == [(200 * 200 + 100 * 100) / 300]


def test_schedule_is_stepped_once_an_epoch(digits):
    rates = []

    class Watched(torch.optim.SGD):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            return super().step()

    trained(digits, optimizer=Watched, lr=0.1, epochs=4, batch_size=100, schedule=training.cosine)
    assert rates[::3] == rates[1::3] == rates[2::3]
    assert rates[::3] == pytest.approx([0.1, 0.0853553, 0.05, 0.0146447], rel=1e-5)


@pytest.mark.parametrize("script", [[5, 3, 4, 3, 4, 9, 1], [1, 2, 3], [9, 8, 7, 6, 5, 4]])
def test_early_stopping_goes_back_to_the_first_best_epoch(digits, monkeypatch, script):
    states = []

    def errors(model, split):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return script[len(states) - 1]

    monkeypatch.setattr(training, "errors", errors)
    model, history = trained(digits, patience=2, epochs=len(script))
    stop = {7: 4, 3: 3, 6: 6}[len(script)]  # patience 2: the second epoch in a row without fewer errors is the last
    assert history.validation_errors == script[:stop]
    best = script.index(min(script[:stop]))
    assert history.kept_epoch == best + 1
    assert all(torch.equal(value, states[best][name]) for name, value in model.state_dict().items())


def test_without_patience_the_last_weights_stay(digits, monkeypatch):
    script = iter([1, 2, 3])
    with monkeypatch.context() as patch:
        patch.setattr(training, "errors", lambda model, split: next(script))
        model, history = trained(digits)
    assert history.kept_epoch == 3 and same(model, trained(digits)[0])


def test_patience_needs_validation(digits):
    with pytest.raises(ValueError, match="patience needs a validation split"):
        train(mlp(784, 10), digits[0], epochs=1, lr=0.1, patience=1)


def test_max_norm_shortens_hidden_units_only(digits):
    model, _ = trained(digits, max_norm=0.5, lr=0.05)
    norms = model[1].weight.norm(dim=1)
    assert norms.max() <= 0.5 + 1e-6 and (norms > 0.4999).sum() > 5
    assert model[-1].weight.norm(dim=1).max() > 0.5


def test_limit_norms_keeps_directions_and_short_or_zero_weights():
    model = mlp(3, 3, 2)
    weight = torch.tensor([[3.0, 0, 4.0], [0.3, 0.4, 0], [0, 0, 0]])
    model[1].weight.data.copy_(weight)
    limit_norms(model, 1.0)
    assert torch.allclose(model[1].weight, torch.tensor([[0.6, 0, 0.8], [0.3, 0.4, 0], [0, 0, 0]]))


def test_after_step_sees_every_step(digits):
    mask = torch.rand(20, 784) < 0.5

    @torch.no_grad()
    def prune(model):
        model[1].weight.mul_(mask)

    model, _ = trained(digits, after_step=prune, optimizer=partial(torch.optim.SGD, momentum=0.9), lr=0.1)
    assert (model[1].weight[~mask] == 0).all() and (model[1].weight[mask] != 0).all()


def test_jitter_moves_images_anew(digits):
    seen = []

    class Watch(nn.Module):
        def forward(self, images):
            seen.append(images.clone())
            return images

    set_seed(0)
    model = nn.Sequential(Watch(), mlp(784, 10))
    one = digits[0].subset(slice(0, 1))
    train(model, one, epochs=40, lr=0.0, jitter=2, progress=False)
    assert len({tuple(images.flatten().tolist()) for images in seen}) > 15  # of 25 shifts
    assert torch.equal(one.images, embedded_digits().train.images[:1])


def test_logits_do_not_depend_on_batches_or_mode(digits):
    model = mlp(784, 20, 10, dropout=0.5)
    model.train()
    images = digits[1].images
    logits = logits_of(model, images, batch_size=7)
    assert model.training and not logits.requires_grad
    model.eval()
    assert torch.allclose(logits, model(images), atol=1e-6)
    assert torch.equal(predict(model, images), logits.argmax(dim=1)) and not model.training


def test_errors_counts(digits):
    class Constant(nn.Module):
        def forward(self, images):
            return F.one_hot(torch.full((len(images),), 3), 10).float()

    assert errors(Constant(), digits[1]) == 90
    assert errors(Constant(), Split(digits[1].images[:10], torch.full((10,), 3))) == 0


def test_bar_goes_to_stderr_and_is_wiped(digits, capfd, monkeypatch):
    # tqdm reads TQDM_DISABLE, which the tests set, when it is imported
    monkeypatch.setattr(training, "progress_bar", partial(training.progress_bar, disable=False))
    trained(digits, progress=True)
    shown = capfd.readouterr()
    assert shown.out == "" and "images" in shown.err and shown.err.rsplit("\r", 2)[-2].strip() == ""
    monkeypatch.undo()
    trained(digits, progress=False)
    assert capfd.readouterr().err == ""
