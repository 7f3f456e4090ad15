"""Networks by width: what is judged is a file of bits, gray pixels included; and verdicts that can say no."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_utils.binary import binarize, figures, reproduce_binary_widths, save_binary
from course_utils.binary import reproduce_binary_widths as widths
from course_utils.binary.reproduce_bits import PartlyBinary

TINY = widths.Settings(widths=(30, 50), epochs=2, batch_size=50, teacher_epochs=1)


@pytest.fixture
def few_kinds(monkeypatch):
    for name, kind in widths.KINDS.items():
        if kind.only:
            monkeypatch.setitem(widths.KINDS, name, replace(kind, only=TINY.widths[:1], epochs=min(kind.epochs, 2)))


def test_every_kind_is_judged_by_its_file(few_digits, tmp_path, own_cache, few_kinds):
    results = widths.run(1, tmp_path, few_digits, TINY)
    assert [(n["name"], n["width"]) for n in results["networks"]] == widths.cases(TINY)
    for network in results["networks"]:
        (run,) = network["runs"]
        assert 0 < run["test_errors"] < 200
        if network["weights"] == "signs":
            assert run["different_classes"] == 0 and "state" not in run
            assert 15 * run["bytes"] < 4 * (784 * network["width"] + network["width"] ** 2 + 10 * network["width"])
    assert figures.matter_of_width(results) == "too few seeds to tell"


def network_with_settled_norms(kind, seed=0):
    torch.manual_seed(seed)
    model = widths.Network(40, kind)
    for norm in model.norms:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        norm.momentum = None
    model(torch.rand(200, 1, 28, 28).mul(255).round() / 255)
    return model.eval()


@pytest.mark.parametrize("pixels", ["gray", "signs"])
@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_bits_give_the_classes_of_the_network(pixels, scale):
    model = network_with_settled_norms(widths.Kind("signs", pixels, "signs", rounded=False))
    model.norms[0].weight.data[:3] = 0  # units that are always the same
    model.scale.data.fill_(scale)
    images = torch.rand(60, 1, 28, 28).mul(255).round() / 255
    found = widths.classes_by_bits(widths.packed_layers_of(model), images, gray=pixels == "gray")
    assert (found == model.double()(images.double()).argmax(1).numpy()).mean() > 0.98  # a sum may lie at a threshold


def test_bit_planes_add_up_to_the_pixels():
    pixels = widths.integer_pixels(torch.arange(256).view(256, 1, 1, 1) / 255)
    assert pixels[:, 0].tolist() == list(range(-255, 256, 2))
    planes = widths.bit_planes(pixels)
    assert all(set(np.unique(plane)) == {-1, 1} for plane in planes)
    assert (sum(plane << bit for bit, plane in enumerate(planes)) == pixels).all()


def test_thresholds_of_gray_pixels_are_not_cut_off(tmp_path):
    words, threshold = np.zeros((1, 13), dtype=np.uint64), torch.tensor([150_000.5])
    layers = [(words, 784, threshold, torch.tensor([1]))]
    save_binary(layers, tmp_path / "gray", 255)
    assert reproduce_binary_widths.load_binary(tmp_path / "gray")[0][2] == 150_001


def test_rounded_product_of_signs_is_nearly_the_product():
    torch.manual_seed(0)
    inputs, weight = binarize(torch.randn(20, 512)).requires_grad_(), torch.randn(30, 512, requires_grad=True)
    gradient = torch.randn(20, 30)
    sums = widths.RoundedProduct.apply(inputs, weight, True)
    assert torch.equal(sums, inputs @ binarize(weight).T)  # even sums up to 512 are exact in 8 bits
    rounded = torch.autograd.grad(sums, (inputs, weight), gradient)
    exact = gradient @ binarize(weight), gradient.T @ inputs
    for ours, theirs in zip(rounded, exact, strict=True):
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_twins_differ_in_what_their_names_say():
    binary, twin = (widths.KINDS[name] for name in ("binary", "float twin"))
    assert replace(twin, weights="signs", activation="signs") == binary
    exact = widths.KINDS["binary, products in float32"]
    assert replace(exact, rounded=True, only=()) == binary
    images, states = torch.rand(5, 1, 28, 28), []
    for kind in (binary, exact):
        torch.manual_seed(0)
        states.append(widths.Network(20, kind).eval()(images))
    torch.manual_seed(0)
    plain = PartlyBinary(20, "signs", "gray", "signs").eval()
    plain.scale.data.fill_(1 / 20**0.5)
    assert torch.equal(*states)
    torch.testing.assert_close(plain(images), states[0])


def results_of(narrow, wide):
    """Stored results with these errors of the binary networks; the twins have 70."""
    networks = []
    for width, errors in ((256, narrow), (2048, wide)):
        for name, weights, wrong in (("binary", "signs", errors), ("float twin", "real", [70] * len(errors))):
            run = {"bytes": 100 * width, "processor_seconds": 20}
            runs = [run | {"test_errors": each, "validation_errors": each // 2} for each in wrong]
            networks.append({"name": name, "width": width, "weights": weights, "epochs": 0, "only": [], "runs": runs})
    paper = {"binary_2048": 1.4, "binary_4096": 0.96}
    settings = {"widths": [256, 2048], "epochs": 10}
    return {"networks": networks, "paper": paper, "settings": settings, "data": {"test": 10_000}}


@pytest.mark.parametrize(
    ("narrow", "wide", "said"),
    [
        ([250, 260, 255], [110, 105, 100], "in part"),
        ([250, 260, 255], [70, 68, 69], "yes"),
        ([250, 260, 255], [110, 105, 251], "no"),
        ([250, 260], [110, 105], "too few seeds"),
    ],
)
def test_the_price_falls_with_width_only_if_every_seed_says_so(narrow, wide, said):
    results = results_of(narrow, wide)
    assert figures.matter_of_width(results).startswith(said)
    table = figures.gaps_by_width(results)
    assert table.rows[0][3] == f"{np.mean(narrow) - 70:+.0f} ({min(narrow) - 70:+d} to {max(narrow) - 70:+d})"
    figures.errors_by_width(results, [(7000, 1.29), (7100, 1.3)])


@pytest.mark.parametrize(
    ("others", "said"), [([120, 121, 122], "with every seed"), ([90, 121, 122], "no sign that all seeds share")]
)
def test_a_control_is_held_against_the_binary_network_seed_by_seed(others, said):
    results = results_of([250, 260, 255], [110, 105, 100])
    run = {"validation_errors": 90, "bytes": 1, "processor_seconds": 30}
    runs = [run | {"test_errors": each} for each in others]
    control = {
        "name": "binary, otherwise",
        "width": 2048,
        "weights": "signs",
        "epochs": 0,
        "only": [2048],
        "runs": runs,
    }
    results["networks"].append(control)
    rows = figures.width_answers(results).rows
    assert rows[2][1] == "not reached: 1.05 (1.00–1.10)%, two layers of 2,048 units, 10 epochs"
    assert len(rows) == 4 and f", {said}; trained for 30 s" in rows[3][1]


@pytest.mark.parametrize(
    ("wide", "said"), [([70, 69, 71], "from 2,048 units on makes as few"), ([71, 70, 70], "no binary network, trained")]
)
def test_bytes_are_compared_at_equal_error(wide, said):
    assert said in figures.bytes_at_equal_error(results_of([250, 260, 255], wide))


def test_the_shipped_network_is_the_one_that_the_validation_digits_choose():
    name, errors = figures.widest_runs(results_of([250, 260, 255], [110, 105, 100]))
    assert name == "two layers of 2,048 units, 10 epochs" and errors == [1.1, 1.05, 1.0]
