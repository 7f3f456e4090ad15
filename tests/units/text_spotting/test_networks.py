"""The networks of unit 14, their shipped files, and what they learn from."""

import copy
import hashlib

import pytest
import torch
from torch import nn

from course_utils import drone
from course_utils.budget import budget_report, module_layers
from course_utils.text_spotting import decode_boxes, networks, pipeline, reproduce
from course_utils.text_spotting.orders import Compressed, stage, words_right
from course_utils.training import set_seed

NAMES = [(kind, size) for kind in ("detector", "recognizer") for size in networks.SIZES]


@pytest.fixture(scope="module")
def lessons() -> networks.Lessons:
    return networks.lessons(5, 16, copies=1)


@pytest.mark.parametrize(("kind", "size"), NAMES)
def test_the_shipped_files_are_those_that_were_trained(kind, size):
    content = (networks.FOLDER / f"{kind}-{size}.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == networks.SHA256[f"{kind}-{size}"]
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in networks.load(kind, size).modules())


def test_all_files_together_are_small():
    sizes = [(networks.FOLDER / f"{name}.safetensors").stat().st_size for name in networks.SHA256]
    assert len(sizes) == 6 and sum(sizes) < 1_300_000


@pytest.mark.parametrize(("kind", "size"), NAMES)
def test_folding_changes_nothing(kind, size):
    set_seed(0)
    model = networks.new_network(kind, size)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    model.eval()
    inputs = torch.rand(2, *drone.SIZE) if kind == "detector" else torch.randn(2, 1, 16, 96)
    before = model(inputs)
    after = networks.folded(copy.deepcopy(model))(inputs)
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_maps_and_logits_have_their_shapes():
    frame = torch.rand(drone.SIZE)
    for size in networks.SIZES:
        score, distances = networks.detect(networks.load("detector", size), frame)
        assert score.shape == (24, 40) and distances.shape == (4, 24, 40)
        assert score.min() >= 0 and score.max() <= 1 and distances.min() >= 0
        assert networks.load("recognizer", size)(torch.rand(3, 1, 16, 96)).shape == (3, 48, 27)


def test_targets_say_where_the_boxes_are():
    """What the targets call text decodes to the very boxes that they were made from."""
    boxes = torch.tensor([[20.0, 30.0, 90.0, 45.0], [100.0, 100.0, 160.0, 120.0]])
    text, counts, distances = networks.box_targets([boxes], (24, 40))
    found, _ = decode_boxes(text[0], distances[0], networks.STRIDE, 0.5)
    assert {tuple(box) for box in found.tolist()} == {tuple(box) for box in boxes.tolist()}
    assert (counts[text > 0] == 1).all() and 0 < (counts == 0).sum() < 50


def test_a_box_smaller_than_a_cell_is_not_forgotten():
    text, _, _ = networks.box_targets([torch.tensor([[50.0, 51.0, 90.0, 59.0]])], (24, 40))
    assert text.sum() > 0


def test_the_loss_of_a_perfect_detector_is_small_and_rises_with_any_mistake():
    boxes = [torch.tensor([[20.0, 30.0, 90.0, 45.0]])]
    targets = networks.box_targets(boxes, (24, 40))
    score, distances = 20 * (targets[0] - 0.5), targets[2].clone()
    perfect = networks.detector_loss(score, distances, targets)
    assert perfect < 0.01
    assert networks.detector_loss(-score, distances, targets) > perfect + 1
    assert networks.detector_loss(score, 1.5 * distances, targets) > perfect + 0.1


def test_crops_are_normalized_and_end_where_the_box_ends():
    frame = torch.rand(192, 320)
    cut = networks.crops(frame, torch.tensor([[20.0, 30.0, 60.0, 50.0], [10.0, 100.0, 310.0, 115.0]]))
    assert cut.shape == (2, 1, 16, 96)
    width = round((40 + 2 * 3) / ((20 + 2 * 3) / 16))  # pixels of the crop, with margins of 0.15 · 20
    inside = cut[0, 0, :, :width]
    assert abs(float(inside.mean())) < 0.05 and 0.9 < float(inside.std(correction=0)) < 1.05
    assert (cut[0, 0, :, width + 1 :] == 0).all() and (cut[1, 0, :, -1] != 0).any()  # the wide one is squeezed


def test_a_crop_shows_what_is_in_the_box():
    """A box that has, with its margins, the size of a crop: its pixels come out one by one."""
    frame = torch.rand(192, 320, generator=torch.Generator().manual_seed(0))
    margin = networks.MARGIN * 16 / (1 + 2 * networks.MARGIN)
    cut = networks.crops(frame, torch.tensor([[52 + margin, 40 + margin, 148 - margin, 56 - margin]]))[0, 0]
    expected = frame[40:56, 52:148]
    expected = (expected - expected.mean()) / (expected.std(correction=0) + 1e-3)
    assert torch.allclose(cut, expected, atol=1e-3)


def test_ctc_loss_is_the_sum_over_all_paths():
    """Of three steps and one letter: every path by hand."""
    logits = torch.randn(1, 3, 27, generator=torch.Generator().manual_seed(1))
    p = logits[0].softmax(dim=1)
    paths = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 1, 1)]
    total = sum(p[0, a] * p[1, b] * p[2, c] for a, b, c in paths)
    assert networks.ctc_loss(logits, ["A"]) == pytest.approx(-float(total.log()), rel=1e-5)


def test_batches_go_through_all_examples_before_any_comes_again():
    order = networks.batches(10, 5, 4, seed=0)
    assert order.shape == (4, 5)
    assert sorted(order[:2].flatten().tolist()) == sorted(order[2:].flatten().tolist()) == list(range(10))


@pytest.mark.parametrize("kind", ["detector", "recognizer"])
def test_training_lowers_the_loss(kind, lessons, monkeypatch):
    losses = []
    descend = networks.descend

    def noting(model, loss, steps, rate):
        def noted(step):
            value = loss(step)
            losses.append(float(value.detach()))
            return value

        descend(model, noted, steps, rate)

    monkeypatch.setattr(networks, "descend", noting)
    set_seed(0)
    getattr(networks, f"train_{kind}")(networks.new_network(kind, "small"), lessons, 60, 0)
    assert len(losses) == 60 and sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_stages_keep_what_was_done(lessons):
    network = Compressed(networks.load("recognizer", "small"))
    teacher = torch.zeros(len(lessons.crops), 48, 27)
    options = {"steps": 2, "rate": 1e-3, "kept": 0.3, "bits": 4, "batch": 8}
    for number, name in enumerate(("prune", "quantize", "distill")):
        stage(network, name, lessons, teacher, seed=number, **options)
    for name, weight in network.seen().items():
        assert int((weight != 0).sum()) <= round(0.3 * weight.numel()), name
        assert all(len(channel.unique()) <= 15 for channel in weight)
    assert 0 <= words_right(network, lessons.crops, lessons.words) <= 100


def test_the_meter_agrees_with_unit_00_in_floats_and_falls_with_the_bits():
    for kind, size in NAMES:
        model = networks.load(kind, size)
        shape = drone.SIZE if kind == "detector" else (1, 16, 96)
        assert pipeline.joules(model) == pytest.approx(budget_report(module_layers(model, shape))["joules"])
        assert pipeline.joules(model) > pipeline.joules(model, 8) > pipeline.joules(model, 4) > 0


@pytest.mark.proof
def test_the_command_gives_networks_as_good_as_the_shipped_ones():
    """The small recognizer, trained anew as `course reproduce text-spotting` does it for the first seed."""
    settings = reproduce.Settings()
    teacher = {"state": networks.load("recognizer", "large").state_dict()}
    found = reproduce.recognizer(None, settings, 0, "small", teacher)
    test = reproduce.held_out(settings)
    shipped = words_right(networks.load("recognizer", "small"), test.crops, test.words)
    assert found["right"] > shipped - 5
