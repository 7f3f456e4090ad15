"""Unit 07 against torch's pruning, SciPy and closed forms, on any input; and its experiments in small."""

import itertools
import json
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from torch import nn
from torch.nn.utils import prune

from course_utils import lottery
from course_utils.lottery import reproduce as experiment
from course_utils.lottery import reproduce_connectivity as connectivity
from course_utils.lottery import reproduce_early_bert as early_bert
from course_utils.lottery import reproduce_early_bird as early_bird
from course_utils.lottery import reproduce_early_bird_controls as controls
from course_utils.lottery import reproduce_mask_transfer as mask_transfer
from course_utils.lottery.widgets import ticket_explorer
from course_utils.models import lenet_300_100

pytestmark = pytest.mark.usefixtures("own_cache")

fast = settings(max_examples=40)


@st.composite
def networks(draw):
    """Weights and masks of one to three tensors, with many equals."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    levels = draw(st.integers(1, 1000))
    weights, masks = {}, {}
    for i in range(draw(st.integers(1, 3))):
        shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
        weights[f"w{i}"] = torch.randint(-levels, levels + 1, shape, generator=rng).float()
        masks[f"w{i}"] = torch.rand(shape, generator=rng) < 0.8
    return weights, masks


def kept(masks):
    return sum(int(mask.sum()) for mask in masks.values())


@fast
@given(networks(), st.floats(0, 1))
def test_pruned_masks_are_nested_and_counts_exact(network, rate):
    weights, masks = network
    for _ in range(3):
        together = lottery.prune_tickets(weights, masks, rate)
        assert kept(together) == kept(masks) - round(rate * kept(masks))
        by_layer = lottery.prune_tickets(weights, masks, dict.fromkeys(masks, rate))
        for name, mask in masks.items():
            assert (together[name] <= mask).all() and (by_layer[name] <= mask).all()
            assert int(by_layer[name].sum()) == int(mask.sum()) - round(rate * int(mask.sum()))
        masks = together


@fast
@given(networks(), st.integers(0, 2**31))
def test_rewound_weights_are_bit_for_bit_the_initial_ones_times_the_mask(network, seed):
    initial, masks = network
    initial["bias"] = torch.ones(3)
    before = {name: value.clone() for name, value in initial.items()}
    state = lottery.rewind(initial, masks)
    for name, value in initial.items():
        assert torch.equal(state[name], value * masks[name] if name in masks else value)
        state[name] += 1  # training in place leaves the initial state alone
        assert torch.equal(value, before[name])
    shuffled = lottery.shuffle_masks(masks, seed)
    assert [int(m.sum()) for m in shuffled.values()] == [int(m.sum()) for m in masks.values()]
    assert 0 <= lottery.mask_distance(masks, shuffled) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_rounds_agree_with_torch_prune(seed):
    """torch.nn.utils.prune counts by round() too; where no magnitudes are equal it takes the same weights."""
    torch.manual_seed(seed)
    model = lenet_300_100()
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    weights = {name: value.detach().clone() for name, value in model.named_parameters() if value.dim() > 1}
    by_layer = together = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    for _ in range(2):
        by_layer = lottery.prune_tickets(weights, by_layer, dict.fromkeys(weights, 0.2))
        for layer in layers:
            prune.l1_unstructured(layer, "weight", amount=0.2)
        assert all(torch.equal(m, la.weight_mask.bool()) for m, la in zip(by_layer.values(), layers, strict=True))
    for layer in layers:
        prune.remove(layer, "weight")
        with torch.no_grad():
            layer.weight.copy_(layer.weight)
    model.load_state_dict(weights | {n: v for n, v in model.state_dict().items() if n not in weights})
    together = lottery.prune_tickets(weights, together, 0.3)
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=0.3)
    assert all(torch.equal(m, la.weight_mask.bool()) for m, la in zip(together.values(), layers, strict=True))


def test_remaining_after_gives_the_papers_percentages_and_what_pruning_leaves():
    weights = {name: value for name, value in lenet_300_100().state_dict().items() if value.dim() > 1}
    sizes = {name: value.numel() for name, value in weights.items()}
    rates = dict(zip(weights, (0.2, 0.2, 0.1), strict=True))
    masks = {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()}
    for rounds in range(1, 12):
        masks = lottery.prune_tickets(weights, masks, rates)
        wanted = lottery.remaining_after(rounds, rates, sizes)
        assert kept(masks) / sum(sizes.values()) == pytest.approx(wanted, abs=2e-5)
        if rounds in (7, 9, 11):
            assert round(100 * wanted, 2) == {7: 21.07, 9: 13.52, 11: 8.68}[rounds]


def test_redrawn_weights_are_normal_with_their_tensors_standard_deviation():
    initial = {"a": torch.empty(200, 60).uniform_(-3, 3), "b": 2 + 0.01 * torch.randn(5000), "bias": torch.ones(4)}
    masks = {"a": initial["a"].abs() > 1, "b": torch.ones(5000, dtype=torch.bool)}
    state = lottery.reinitialize(initial, masks, 3)
    for name, mask in masks.items():
        drawn = state[name][mask] / initial[name].std()
        assert stats.kstest(drawn.numpy(), "norm").pvalue > 1e-3


@given(st.floats(0.05, 0.95), st.integers(0, 1000))
@settings(max_examples=20)
def test_independent_masks_are_two_p_one_minus_p_apart(p, seed):
    generator = torch.Generator().manual_seed(seed)
    mask = {"w": torch.rand(40_000, generator=generator) < p}
    share = kept(mask) / 40_000
    distance = lottery.mask_distance(mask, lottery.shuffle_masks(mask, seed))
    assert distance == pytest.approx(2 * share * (1 - share), abs=0.015)


@given(st.lists(st.lists(st.integers(-5, 5), min_size=1, max_size=9), min_size=1, max_size=4), st.floats(0, 1))
@fast
def test_channel_counts_are_exact_and_of_equals_the_first_stay(scales, keep_fraction):
    scales = {f"n{i}": torch.tensor(values, dtype=torch.float32) for i, values in enumerate(scales)}
    masks = lottery.channel_mask(scales, keep_fraction)
    sizes, mask = torch.cat(list(scales.values())).abs(), torch.cat(list(masks.values()))
    assert int(mask.sum()) == round(keep_fraction * len(sizes))
    for level in sizes.unique():
        assert (mask[sizes == level].int().diff() <= 0).all()
    if mask.any() and not mask.all():
        assert sizes[mask].min() >= sizes[~mask].max()


def test_a_mask_moves_to_another_head_but_not_to_another_body():
    masks = {name: value > 0 for name, value in lenet_300_100().state_dict().items() if value.dim() > 1}
    target = {**lenet_300_100().state_dict(), "5.weight": torch.zeros(2, 100)}
    moved = lottery.transplant(masks, target, ["5.weight"])
    assert moved["5.weight"].shape == (2, 100) and moved["5.weight"].all()
    assert torch.equal(moved["1.weight"], masks["1.weight"])
    with pytest.raises(ValueError, match=r"5\.weight"):
        lottery.transplant(masks, target, [])


# --- the experiments --------------------------------------------------------------------------------------------------


TINY = replace(
    experiment.Settings(), iterations=12, patience=4, most_iterations=16, check_every=4, rewind_to=2, batch_size=60
)


def test_search_for_tickets_in_small_and_again_after_a_stop(few_digits, tmp_path, monkeypatch):
    stages = ({1: (experiment.REINITIALIZED,)}, {1: tuple(experiment.STAGES[-1][7]), 2: (experiment.REWOUND,)})
    monkeypatch.setattr(experiment, "STAGES", stages)
    trained = []
    train = experiment.train_masked

    def stop_after_three(*arguments):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(experiment, "train_masked", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(1, tmp_path, few_digits, TINY)
    known = json.loads((tmp_path / "lottery.json").read_text())["runs"][0]
    monkeypatch.setattr(experiment, "train_masked", train)
    results = experiment.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "lottery.json").read_text()) == json.loads(json.dumps(results))
    (run,) = results["runs"]
    assert run["tickets"][:2] == known["tickets"]  # the times too: they were not trained again
    assert [row["round"] for row in run["tickets"]] == [0, 1, 2]
    sizes = {"1.weight": 235_200, "3.weight": 30_000, "5.weight": 1_000}
    rates = {"1.weight": 0.2, "3.weight": 0.2, "5.weight": 0.1}
    for row in run["tickets"]:
        assert row["remaining"] == pytest.approx(lottery.remaining_after(row["round"], rates, sizes), abs=1e-5)
    conditions = {row["condition"] for row in run["controls"]}
    assert conditions == {experiment.REINITIALIZED, experiment.SHUFFLED, experiment.SIGNS, experiment.REWOUND}


def test_training_leaves_pruned_weights_at_zero_and_the_given_state_alone(few_digits):
    initial = experiment.glorot_state(0)
    masks = {name: torch.rand(w.shape) < 0.5 for name, w in initial.items() if w.dim() > 1}
    ticket = lottery.rewind(initial, masks)
    before = {name: value.clone() for name, value in ticket.items()}
    run = experiment.train_masked(ticket, masks, few_digits, TINY, 0, True)
    for name, mask in masks.items():
        assert (run["end"][name][~mask] == 0).all() and (run["early"][name][~mask] == 0).all()
        assert not torch.equal(run["end"][name], run["early"][name])
    assert all(torch.equal(ticket[name], before[name]) for name in ticket)


def test_a_cut_network_says_what_the_masked_one_says():
    torch.manual_seed(0)
    model = early_bird.network((4, 5, 6))
    for norm in early_bird.norms(model).values():
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
    masks = early_bird.usable(lottery.channel_mask(early_bird.scales(model), 0.4), model)
    small = early_bird.cut(model, masks).eval()
    with torch.no_grad():
        for name, norm in early_bird.norms(model).items():  # a channel whose scale and shift are 0 is as good as gone
            norm.weight.mul_(masks[name])
            norm.bias.mul_(masks[name])
    images = torch.rand(7, 1, 14, 14)
    assert torch.allclose(small(images), model.eval()(images), atol=1e-5)
    widths = tuple(int(mask.sum()) for mask in masks.values())
    assert early_bird.macs(widths) < early_bird.macs((4, 5, 6))


def test_a_layer_that_would_lose_all_channels_keeps_its_largest():
    model = early_bird.network((2, 3, 2))
    with torch.no_grad():
        early_bird.norms(model)["1"].weight.copy_(torch.tensor([0.1, -0.2]))
    masks = early_bird.usable(lottery.channel_mask(early_bird.scales(model), 0.5), model)
    assert masks["1"].tolist() == [False, True]


def test_early_bird_in_small(few_digits, tmp_path):
    tiny = early_bird.Settings(widths=(3, 3, 3), train=40, epochs=4, batch_size=20, window=1, epsilon=0.9)
    results = early_bird.run(1, tmp_path, few_digits, tiny)
    assert json.loads((tmp_path / "early_bird.json").read_text())["runs"] == json.loads(json.dumps(results["runs"]))
    (run,) = results["runs"]
    for found in run["settled"].values():  # every mask is near at 0.9; two of the rules need a mask before it
        assert found == {early_bird.CONSECUTIVE: 2, early_bird.FOUR: 1, early_bird.FIVE: 2}
    ways = run["ways"]["50%"]
    assert set(ways) == set(early_bird.WAYS[1:]) and set(run["ways"]["30%"]) == set(early_bird.EVERYWHERE)
    assert ways[early_bird.EARLY]["epochs"] == 4 and ways[early_bird.AGAIN]["epochs"] == 8
    assert ways[early_bird.EARLY]["macs"] < run["dense"]["macs"]
    assert ways[early_bird.RANDOM]["widths"] == ways[early_bird.EARLY]["widths"] == ways[early_bird.ANEW]["widths"]
    assert run["few"]["settled"] == 2 and 0 <= run["few"]["masks_apart"] <= 1
    assert all(distances[-1] == 0 for distances in run["distances_to_last"].values())
    with pytest.raises(ValueError, match="has not settled"):
        early_bird.run(1, tmp_path, few_digits, replace(tiny, window=9))


def test_controls_of_early_birds_in_small(few_digits, tmp_path):
    tiny = early_bird.Settings(widths=(3, 4, 5), train=40, epochs=3, batch_size=20, window=9)
    results = controls.run(1, tmp_path, few_digits, controls.Settings(network=tiny))
    assert json.loads((tmp_path / "early_bird_controls.json").read_text()) == json.loads(json.dumps(results))
    for (run,) in results["penalties"].values():
        assert run["settled"]["channels, 30%"][early_bird.CONSECUTIVE] is None
        assert len(run["distances_to_last"]["channels, 30%"]) == 3
    assert [list(even[0]["widths"]) for even in results["even"].values()] == [[1, 1, 2], [2, 2, 2], [2, 3, 4]]


def test_rules_of_settling_part_where_masks_drift():
    def history(*kept: int) -> list[dict]:
        return [{"c": torch.arange(20) < n} for n in kept]

    drift = history(0, 1, 2, 3, 4, 5)  # 0.05 in each step, 0.25 from the newest to the first
    assert early_bird.settled(drift, 0.1, 5) == {
        early_bird.CONSECUTIVE: True,
        early_bird.FOUR: False,
        early_bird.FIVE: False,
    }
    late = history(9, 5, 5, 5, 5, 5)  # the first mask is in the window of two rules only
    assert early_bird.settled(late, 0.1, 5) == {
        early_bird.CONSECUTIVE: False,
        early_bird.FOUR: True,
        early_bird.FIVE: False,
    }
    edge = history(5, 5, 5, 5, 5, 7)  # 0.1: not below, but at most
    assert list(early_bird.settled(edge, 0.1, 5).values()) == [False, True, False]
    assert list(early_bird.settled(history(5, 5, 5, 5, 5), 0.1, 5).values()) == [False, True, False]
    assert list(early_bird.settled(history(5, 5, 5, 5), 0.1, 5).values()) == [False] * 3
    assert all(early_bird.settled(history(*[5] * 6), 0.1, 5).values())


def test_a_search_on_few_images_takes_as_many_steps(few_digits):
    settings, steps = early_bird.Settings(train=40, batch_size=10, widths=(2, 2, 2), epochs=2), []
    for images in (few_digits.train.subset(slice(40)), few_digits.train.subset(slice(4))):
        model, calls = early_bird.fresh(settings.widths, 0), []
        model.register_forward_hook(lambda *a, calls=calls: calls.append(len(a[1][0])))
        small = early_bird.smaller_images(images)
        list(early_bird.train_epochs(model, small, settings, 0, 2, 0))
        steps.append(calls)
    assert steps[0] == steps[1] == [10] * 8


SMALL = early_bert.Settings(
    width=8,
    heads=2,
    neurons=6,
    keep=((0.5, 0.5),),
    steps=(8, 8),
    looks=4,
    batch_size=(4, 4),
    window=6,
    epsilon=0.9,
    queue=1,
)


@pytest.mark.parametrize("name", early_bert.TASKS)
def test_a_cut_transformer_says_what_the_masked_one_says(few_digits, name):
    task = early_bert.load(few_digits, SMALL)[name]
    torch.manual_seed(0)
    model = task.network(early_bert.whole(SMALL))
    with torch.no_grad():
        for block in model.blocks:
            block.head_scale.normal_()
            block.neuron_scale.normal_()
    heads, neurons = early_bert.draw(model, (0.5, 0.8))
    assert [int(mask.sum()) for mask in heads.values()] == [1, 1]  # of each layer
    assert kept(neurons) == 10
    small = early_bert.cut(model, task.network(early_bert.sizes_of(heads, neurons)), heads, neurons)
    inputs, _ = task.batch(torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = small(inputs)
        for block, head, neuron in zip(model.blocks, heads.values(), neurons.values(), strict=True):
            block.head_scale.mul_(head)
            block.neuron_scale.mul_(neuron)
        assert torch.allclose(said, model(inputs), atol=1e-5)
    assert early_bert.macs(small) < early_bert.macs(model)


def test_text_is_read_from_left_to_right_and_images_as_a_whole(few_digits):
    tasks = early_bert.load(few_digits, SMALL)
    for name, causal in ((early_bert.TEXT, True), (early_bert.IMAGES, False)):
        model = tasks[name].network(early_bert.whole(SMALL))
        hidden = torch.randn(1, 5, 8)
        changed = hidden.clone()
        changed[0, -1, 0] += 1  # not in all entries: the normalization would take it out
        first = [model.blocks(each)[0, 0] for each in (hidden, changed)]
        assert torch.allclose(*first) == causal


def test_perplexity_of_equal_guesses_is_the_size_of_the_alphabet():
    guess = nn.Embedding(7, 7)
    nn.init.zeros_(guess.weight)
    assert early_bert.perplexity(guess, torch.arange(100) % 7, 6) == pytest.approx(7)


def test_early_bert_in_small(few_digits, tmp_path):
    results = early_bert.run(1, tmp_path, few_digits, SMALL)
    assert json.loads((tmp_path / "early_bert.json").read_text())["runs"] == json.loads(json.dumps(results["runs"]))
    for (run,) in results["runs"].values():
        ((size, ways),) = run["ways"].items()
        assert set(ways) == set(early_bert.WAYS[1:])
        assert run["settled"][size][early_bert.CONSECUTIVE] == 2
        assert ways[early_bert.EARLY]["steps"] == 8 and ways[early_bert.REWOUND]["steps"] == 12
        assert len({str(way["sizes"]) for way in ways.values()}) == 1
        assert ways[early_bert.SCRATCH]["macs"] < ways[early_bert.REWOUND]["macs"]
    with pytest.raises(ValueError, match="have not settled"):
        early_bert.run(1, tmp_path, few_digits, replace(SMALL, queue=9))


def test_connectivity_in_small(few_digits, tmp_path):
    tiny = connectivity.Settings(iterations=4, rewound_to=(0, 2), rounds=2, points=3, train=50)
    results = connectivity.run(1, tmp_path, few_digits, tiny)
    assert json.loads((tmp_path / "connectivity.json").read_text()) == json.loads(json.dumps(results))
    assert results["remaining"] == 0.25
    for (run,) in results["runs"].values():
        for found in run["from"].values():
            assert len(found["dense"]) == len(found["ticket"]) == 3
            assert all(0 <= error <= 100 for error in (*found["dense"], found["at once"], found["shuffled"]))


def test_a_line_goes_from_one_network_to_the_other(few_digits):
    recipe, images = connectivity.RECIPES[connectivity.LENET], few_digits.test
    ends = recipe.make().state_dict(), recipe.make().state_dict()
    found = connectivity.along_the_line(recipe, ends, images, 3)
    middle = {name: (ends[0][name] + ends[1][name]) / 2 for name in ends[0]}
    assert found == [connectivity.percent_wrong(recipe, state, images) for state in (ends[0], middle, ends[1])]


@pytest.mark.parametrize("name", connectivity.NETWORKS)
def test_training_in_two_parts_under_masks(few_digits, name):
    images = connectivity.load(few_digits, connectivity.Settings(train=50))[name].train
    recipe, s = connectivity.RECIPES[name], connectivity.Settings(iterations=6)
    first = recipe.make().state_dict()
    masks = {key: torch.rand(value.shape) < 0.5 for key, value in first.items() if value.dim() > 1}
    before = {key: value.clone() for key, value in first.items()}
    ticket = lottery.rewind(first, masks)
    end = connectivity.train(recipe, ticket, masks, images, s, 2, 6, 0)
    assert all((end[key][~mask] == 0).all() for key, mask in masks.items())
    assert all(torch.equal(first[key], before[key]) for key in first)
    assert not torch.equal(end[key := next(iter(masks))], ticket[key])
    still = connectivity.train(recipe, ticket, masks, images, s, 6, 6, 0)
    assert all(torch.equal(still[key], ticket[key]) for key in ticket)


def test_mask_transfer_in_small(few_digits, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    tiny = mask_transfer.Settings(
        digit_rounds=(1,), digit_iterations=(3, 2, 2), text_rounds=(2,), text_iterations=(2, 1, 1), few=40, windows=4
    )
    results = mask_transfer.run(1, tmp_path, few_digits, tiny)
    assert json.loads((tmp_path / "mask_transfer.json").read_text()) == json.loads(json.dumps(results))
    for (run,) in results["runs"].values():
        conditions = {(row["task"], row["condition"]) for row in run["rows"]}
        assert len(conditions) == 2 * 7 and all(0 <= row["accuracy"] <= 1 for row in run["rows"])
    assert {row["remaining"] for row in results["runs"]["text, masked characters"][0]["rows"]} == {1.0, 0.64}


def test_masks_hold_in_pre_training_and_leave_embeddings_whole():
    torch.manual_seed(0)
    model = mask_transfer.with_head(mask_transfer.Encoder(9, 6, 8), nn.Linear(8, 9))
    text = torch.randint(9, (200,))
    settings = mask_transfer.Settings(window=6, windows=3)
    loss = mask_transfer.masked_characters(text, 9, settings)
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    found = mask_transfer.find_masks(model, initial, loss, 2, 3, settings, 0)
    assert not any("embed" in name or name.startswith("head") for name in found[0])
    for before, after in itertools.pairwise(found):
        assert all((after[name] <= before[name]).all() for name in before)
    _, state = mask_transfer.train(model, lottery.rewind(initial, found[2]), found[2], loss, 3, 1e-2, 0)
    assert all((state[name][~mask] == 0).all() for name, mask in found[2].items())


def test_ticket_explorer_follows_its_slider():
    masks = [{"a": torch.rand(5, 784) < p, "b": torch.rand(4, 5) < p} for p in (1.0, 0.5, 0.2)]
    slider, image = ticket_explorer(masks, {"ticket": {0: 1.0, 1: 2.0, 2: 3.0}, "control": {1: 4.0}}).children
    pictures = set()
    for number in range(3):
        slider.value = number
        pictures.add(image.value)
    assert len(pictures) == 3
