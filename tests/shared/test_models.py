"""The networks: as large as their papers say, and the forward pass on a dict the same as torch's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils import models


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (models.lenet_300_100, 266_610),
        (models.lenet5, 431_080),
        (models.hinton_teacher, 2_395_210),
        (models.hinton_student, 1_276_810),
    ],
)
def test_network_has_its_papers_size(make, parameters):
    model = make().eval()
    assert models.parameter_count(model) == parameters
    images = torch.rand(3, 1, 28, 28)
    logits = model(images)
    assert logits.shape == (3, 10)
    assert (logits < 0).any() and not torch.allclose(
        logits.exp().sum(dim=1), torch.ones(3)
    )  # logits, not probabilities


def test_lenet5_without_relu_between_convolutions_is_caffes():
    """One ReLU, after the 500 units, as in Caffe's lenet.prototxt; the first block is linear but for the maximum."""
    layers = [type(layer).__name__ for layer in models.lenet5()]
    assert layers == ["Conv2d", "MaxPool2d", "Conv2d", "MaxPool2d", "Flatten", "Linear", "ReLU", "Linear"]


def test_teacher_drops_pixels_and_units_in_training_only():
    teacher = models.hinton_teacher()
    assert [layer.p for layer in teacher if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    images = torch.rand(2, 1, 28, 28)
    assert not torch.equal(teacher(images), teacher(images))
    teacher.eval()
    assert torch.equal(teacher(images), teacher(images))
    assert not any(isinstance(layer, nn.Dropout) for layer in models.hinton_student())


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(1, 4), st.booleans())
def test_forward_on_a_dict_is_torchs(sizes, batch, dropout):
    model = models.mlp(*sizes, dropout=0.5 if dropout else 0, input_dropout=0.2 if dropout else 0).double().eval()
    inputs = torch.randn(batch, 1, sizes[0], dtype=torch.float64)
    assert torch.allclose(models.mlp_forward(model.state_dict(), inputs), model(inputs), rtol=0, atol=1e-12)


def test_mlp_has_a_layer_between_each_two_sizes():
    linear = [layer for layer in models.mlp(7, 5, 3, 2) if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(7, 5), (5, 3), (3, 2)]
    assert len([layer for layer in models.mlp(7, 5, 3, 2) if isinstance(layer, nn.ReLU)]) == 2


def test_stage_is_a_layer_of_caffes_lenet():
    lenet, images = models.lenet5(), torch.rand(3, 1, 28, 28)
    state = lenet.state_dict()
    hidden = images
    for layer in ("0", "2", "5"):
        hidden = models.run_stage({name: state[f"{layer}.{name}"] for name in ("weight", "bias")}, hidden)
    assert torch.equal(
        models.mlp_forward({"7.weight": state["7.weight"], "7.bias": state["7.bias"]}, hidden), lenet(images)
    )
    assert models.run_stage({}, images) is images


@pytest.mark.parametrize("weight", [torch.ones(1, 1, 3, 3), torch.ones(2, 36)])
def test_stage_refuses_what_overflows(weight):
    with pytest.raises(FloatingPointError, match="not finite"):
        models.run_stage({"weight": weight, "bias": torch.zeros(len(weight))}, torch.full((1, 1, 6, 6), 1e38))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_lenet_forward_is_lenets_at_any_widths(first, second, units, batch, seed):
    torch.manual_seed(seed)
    model = models.lenet5()
    model[0], model[2] = nn.Conv2d(1, first, 5), nn.Conv2d(first, second, 5)
    model[5], model[7] = nn.Linear(16 * second, units), nn.Linear(units, 10)
    model, images = model.double(), torch.randn(batch, 1, 28, 28, dtype=torch.float64)
    renamed = {f"layer {name}": value for name, value in model.state_dict().items()}
    assert torch.allclose(models.lenet_forward(renamed, images), model(images), rtol=0, atol=1e-12)
