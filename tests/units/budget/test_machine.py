"""What the roofline and the bars of memory are computed from."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_utils import models
from course_utils.budget import budget_report, machine, published_classifiers, published_networks


def test_intensity_is_operations_by_the_bytes_that_hooks_see():
    model, image = models.lenet5(), torch.rand(1, 1, 28, 28)
    ours, moved = machine.intensity(machine.layers_of(model), inputs=784), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            numbers = sum(parameter.numel() for parameter in module.parameters())
            module.register_forward_hook(
                lambda _, given, out, n=numbers: moved.append(n + given[0].numel() + out.numel())
            )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    exact = counter.get_total_flops() / (4 * sum(moved))
    assert 0.95 * exact < ours < exact  # a layer is said to read what the one before has put out before pooling


def test_without_pooling_the_intensity_is_exact():
    layers = machine.layers_of(models.mlp(784, 30, 20, 10))
    weights = 784 * 30 + 30 * 20 + 20 * 10
    moved = weights + 60 + 784 + 30 + 20 + 30 + 20 + 10
    assert machine.intensity(layers, 784) == pytest.approx(2 * weights / (4 * moved))


def test_memory_of_a_step_is_what_adam_and_autograd_hold():
    model = models.lenet5()
    held = machine.training_memory(machine.layers_of(model), batch=3)
    optimizer = torch.optim.Adam(model.parameters())
    outputs = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda *found: outputs.append(found[2].numel()))
    model(torch.rand(3, 1, 28, 28)).sum().backward()
    optimizer.step()
    averages = [state[key].numel() for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    gradients = [parameter.grad.numel() for parameter in model.parameters()]
    assert list(held.values()) == [4 * sum(gradients), 4 * sum(gradients), 4 * sum(averages), 4 * sum(outputs)]
    assert machine.inference_memory(machine.layers_of(model)) == 4 * (431_080 + 20 * 24 * 24 + 50 * 8 * 8)


def test_the_classifiers_are_what_the_published_counts_lack():
    """61 and 138 million weights in all (Krizhevsky 2012 has 60 million, Simonyan and Zisserman 2014 138 million)."""
    convolutions, linear = published_networks(), published_classifiers()
    totals = {
        name: budget_report(convolutions[name])["parameters"] + budget_report(linear[name])["parameters"]
        for name in linear
    }
    assert {name: round(total / 1e6) for name, total in totals.items()} == {"AlexNet": 61, "VGG-16": 138}


def test_speeds_are_positive_and_a_larger_batch_takes_longer():
    assert machine.peak_flops(64, 3) > 1e7 and machine.copy_bandwidth(2**16, 3) > 1e7
    found = machine.by_batch(models.lenet_300_100(), (1, 28, 28), (1, 512), repeats=3)
    assert found[512] > found[1] > 0
