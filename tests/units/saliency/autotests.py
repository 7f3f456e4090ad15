"""Instructor-only laws of unit 02: harder cases, compared with the reference."""

import torch
import torch.nn.functional as F

from course_utils import saliency
from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Law, law
from course_utils.saliency.laws import CLOSE, Net, curvatures_of, masks_of, prune

DOUBLE = CLOSE[torch.float64]


def feature_map(draw: Draw, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Activations after a ReLU, stored channels last: [batch, channels, height, width]."""
    shape = (draw.integer(2, 8), draw.integer(1, 6), draw.integer(1, 5), draw.integer(1, 4))
    return F.relu(draw.normal(*shape, dtype=dtype)).to(memory_format=torch.channels_last)


@law("any order of a filter bank, stored channels last")
def magnitude_hidden(function, draw):
    weight = draw.normal(3, 4, 2, 2, dtype=torch.float64).to(memory_format=torch.channels_last)
    for order in (1, 2, 4, 0.5):
        expect.close(function(weight, order), saliency.magnitude_saliency(weight, order), **DOUBLE)


@law("feature maps of any layout")
def mean_hidden(function, draw):
    activations = feature_map(draw)
    expect.close(function(activations), saliency.mean_activation(activations), **DOUBLE)


@law("feature maps of any layout, with all-zero and denormal channels")
def zeros_hidden(function, draw):
    activations = feature_map(draw)
    activations[:, 0] = 5e-324 if draw.trial else 0.0
    expect.close(function(activations), saliency.average_percentage_of_zeros(activations), **DOUBLE)


@law("responses on bin edges, many bins, few examples")
def entropy_hidden(function, draw):
    responses = torch.from_numpy(draw.rng.integers(-8, 9, (draw.integer(1, 20), 4))).double()
    responses[:1], responses[-1:] = -8, 8
    for bins in (1, 2, 4, 8, 16):  # powers of two: edges are exact in every way of computing them
        expect.close(function(responses, bins), saliency.activation_entropy(responses, bins), **DOUBLE)
    activations = draw.normal(7, 3, 4, 2)
    expect.close(function(activations, 40), saliency.activation_entropy(activations, 40))


@law("feature maps of any layout")
def taylor_hidden(function, draw):
    activations = feature_map(draw)
    gradients = draw.normal(*activations.shape, dtype=torch.float64)
    expect.close(function(activations, gradients), saliency.taylor_saliency(activations, gradients), **DOUBLE)


@law("five dense layers, a large batch")
def curvature_hidden(function, draw):
    net = Net(draw, (7, draw.integer(2, 9), 5, draw.integer(1, 6), 4, 3), draw.integer(1, 30))
    wanted = saliency.backpropagate_curvature(*net.arguments())
    expect.close(curvatures_of(function, net.arguments()), wanted, "curvatures", **DOUBLE)
    net = Net(draw, (6, 5, 4, 3), 9, relu=True)
    wanted = saliency.backpropagate_curvature(*net.arguments())
    expect.close(curvatures_of(function, net.arguments()), wanted, "curvatures of a ReLU net", **DOUBLE)


@law("filter banks, zeros among weights and curvatures")
def obd_hidden(function, draw):
    weight, curvature = (
        draw.normal(4, 3, 3, 3, dtype=torch.float64) * draw.mask(4, 3, 3, 3, keep=0.8) for _ in range(2)
    )
    expect.close(function(weight, curvature), saliency.obd_saliency(weight, curvature), **DOUBLE)


@law("many tensors, among them single numbers")
def increase_hidden(function, draw):
    shapes = [(), (1,), (5,), (3, 4), (2, 3, 2, 2)]
    saliencies = {f"p{i}": draw.normal(*shape, scale=10, dtype=torch.float64) for i, shape in enumerate(shapes)}
    masks = {
        name: draw.mask(*s.shape) if s.dim() else torch.tensor(bool(draw.integer(0, 1)))
        for name, s in saliencies.items()
    }
    expect.close(function(saliencies, masks), saliency.predicted_loss_increase(saliencies, masks), **DOUBLE)


@law("many tensors with many equals, every fraction")
def keep_hidden(function, draw):
    levels = draw.integer(1, 5)
    saliencies = {
        name: torch.from_numpy(draw.rng.integers(-levels, levels + 1, shape)).double()
        for name, shape in [("w", (9, 8)), ("c", (3, 2, 3, 3)), ("a", (1,)), ("b", (40,))]
    }
    saliencies["w"] = saliencies["w"].t()
    for keep_fraction in (draw.uniform(), draw.uniform(), draw.integer(0, 167) / 167, 0.5):
        wanted = saliency.keep_top(saliencies, keep_fraction)
        expect.equal(masks_of(function, saliencies, keep_fraction), wanted, "masks")


@law("a larger network, every fraction")
def prune_hidden(function, draw):
    state, curvatures = {}, {}
    for i, (inputs, outputs) in enumerate([(8, 12), (12, 6), (6, 3)]):
        state[f"{i}.weight"] = draw.normal(outputs, inputs, scale=10.0**-i, dtype=torch.float64)
        state[f"{i}.bias"] = draw.normal(outputs, dtype=torch.float64)
        if i != 1:
            curvatures[f"{i}.weight"] = draw.normal(outputs, inputs, scale=100.0**i, dtype=torch.float64)
    for keep_fraction in (draw.uniform(), 0.1, 1.0):
        wanted, wanted_masks = saliency.obd_prune(state, curvatures, keep_fraction)
        pruned, masks = prune(function, state, curvatures, keep_fraction)
        expect.equal(masks, wanted_masks, "masks")
        expect.equal(pruned, wanted, "the state")


@law("many weights, and a Hessian that is nearly singular")
def surgeon_hidden(function, draw):
    weight, hessian, damping = singular(draw)
    wanted = saliency.obs_saliency(weight, hessian, damping)
    expect.close(function(weight, hessian, damping), wanted, rtol=1e-6, atol=1e-9)


@law("many weights, each index")
def update_hidden(function, draw):
    weight, hessian, damping = singular(draw)
    for index in (0, len(weight) - 1, draw.integer(1, len(weight) - 2)):
        wanted = saliency.obs_update(weight, hessian, damping, index)
        got = function(weight, hessian, damping, index)
        expect.close(got, wanted, rtol=1e-6, atol=1e-9)
        expect.true(float(got[index]) == 0, f"weight {index} is not exactly 0", 0.0, float(got[index]))


def singular(draw):
    """Weights, a Hessian of lower rank, and a damping with which it can be inverted."""
    root = draw.normal(20, 12, dtype=torch.float64)
    return draw.normal(20, scale=3.0, dtype=torch.float64), root @ root.T, draw.uniform(0.05, 1)


LAWS: dict[str, list[Law]] = {
    "2.1": [magnitude_hidden],
    "2.2a": [mean_hidden],
    "2.2b": [zeros_hidden],
    "2.2c": [entropy_hidden],
    "2.2d": [taylor_hidden],
    "2.3": [curvature_hidden],
    "2.4": [obd_hidden],
    "2.5": [increase_hidden],
    "2.6": [keep_hidden],
    "2.7": [prune_hidden],
    "2.8a": [surgeon_hidden],
    "2.8b": [update_hidden],
}
