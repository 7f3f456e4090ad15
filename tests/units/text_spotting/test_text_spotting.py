"""The references of unit 14 against RapidFuzz, SciPy, torchvision, PyTorch, NetworkX and brute force."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from scipy import ndimage
from scipy.optimize import LinearConstraint, milp
from torchvision.ops import nms

from course_utils import text_spotting
from course_utils.checks.draw import Draw
from course_utils.text_spotting.laws import POINTS, film, income, letters_right

WORDS = st.text("abcAB", max_size=8)
DOUBLE = torch.float64


def tensor(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@given(WORDS, WORDS)
def test_edit_distance_is_rapidfuzz(a, b):
    assert text_spotting.edit_distance(a, b) == Levenshtein.distance(a, b)


@given(st.dictionaries(st.sampled_from("pq"), st.lists(WORDS, max_size=3)), st.lists(WORDS.filter(len), min_size=1))
def test_reading_accuracy_is_the_referees(answers, words):
    """ld_calc.py: a list of errors, capped at 1 each, and 1 for a question without answers."""
    truth = {"p": words, "q": words[:1]}
    errors = []
    for question, asked in truth.items():
        answer = answers.get(question) or [""]
        for word in asked:
            errors.append(min(1, min(Levenshtein.distance(word.lower(), x.lower()) for x in answer) / len(word)))
    assert text_spotting.reading_accuracy(answers, truth) == pytest.approx(1 - np.mean(errors))


def test_energy_score_of_the_referees_idle_machine():
    """0.000544746733 per second, 1.96 W if the meter counts watt hours."""
    watts = 0.000544746733 * 3600
    assert text_spotting.energy_score(0.9, 2 * watts * 60, 60, watts, 0.9) == pytest.approx(0.9 / (watts * 60))
    assert text_spotting.energy_score(0.9, watts * 60, 60, watts, 0.9) == 0.0


@given(st.integers(0, 99), st.integers(1, 3), st.integers(3, 9), st.integers(3, 9))
def test_sharpness_is_the_variance_of_scipys_laplacian(seed, count, height, width):
    frames = tensor(seed, count, height, width)
    wanted = [ndimage.laplace(frame.numpy())[1:-1, 1:-1].var() for frame in frames]
    torch.testing.assert_close(text_spotting.sharpness(frames), torch.tensor(wanted, dtype=DOUBLE))


def test_sharpness_of_noise_is_twenty_times_its_variance():
    assert float(text_spotting.sharpness(0.03 * tensor(0, 1, 400, 400))) == pytest.approx(20 * 0.03**2, rel=0.02)


@given(st.integers(0, 999), st.integers(1, 12), st.integers(1, 5), st.floats(0, 1.5))
def test_chosen_frames_are_sharpest_of_their_windows_and_differ_from_the_kept_before(seed, count, window, change):
    frames = tensor(seed, count, 4, 5)
    sharp = text_spotting.sharpness(frames).tolist()
    candidates = [max(range(i, min(i + window, count)), key=sharp.__getitem__) for i in range(0, count, window)]
    kept = text_spotting.choose_frames(frames, window, change)
    assert kept[0] == candidates[0] and set(kept) <= set(candidates) and kept == sorted(kept)
    for candidate in candidates[1:]:
        before = max(k for k in kept if k < candidate)
        assert (candidate in kept) == (float((frames[candidate] - frames[before]).abs().mean()) >= change)


@given(st.integers(0, 999), st.integers(1, 7), st.integers(1, 9), st.sampled_from([0.2, 0.4, 0.6]), st.integers(2, 4))
def test_text_regions_are_scipys_labels_and_networkx_components(seed, rows, columns, density, tile):
    busy = np.random.default_rng(seed).random((rows, columns)) < density
    frame = torch.zeros(rows * tile, columns * tile)
    frame[::tile, ::tile] = torch.from_numpy(busy).float()
    found = text_spotting.text_regions(frame, tile, 1.0)
    labels, _ = ndimage.label(busy, np.ones((3, 3)))
    slices = ndimage.find_objects(labels)
    assert found == [(c.start * tile, r.start * tile, c.stop * tile, r.stop * tile) for r, c in slices]
    king = nx.strong_product(nx.path_graph(rows), nx.path_graph(columns))
    assert len(found) == nx.number_connected_components(king.subgraph(map(tuple, np.argwhere(busy).tolist())))


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 4, 8]), st.floats(0, 1))
def test_decoded_boxes_are_those_that_were_encoded(seed, height, width, stride, threshold):
    score = torch.sigmoid(tensor(seed, height, width))
    distances = tensor(seed + 1, 4, height, width)
    boxes, scores = text_spotting.decode_boxes(score, distances, stride, threshold)
    cells = [(y, x) for y in range(height) for x in range(width) if score[y, x] >= threshold]
    assert boxes.shape == (len(cells), 4) and scores.tolist() == [score[cell].item() for cell in cells]
    for (y, x), box in zip(cells, boxes, strict=True):
        left, top, right, bottom = distances[:, y, x].tolist()
        centre = ((x + 0.5) * stride, (y + 0.5) * stride)
        wanted = [centre[0] - left, centre[1] - top, centre[0] + right, centre[1] + bottom]
        assert box.tolist() == pytest.approx(wanted)


@given(st.integers(0, 999), st.integers(0, 30), st.sampled_from([0.0, 0.1, 0.37, 0.8]))
def test_non_max_suppression_is_torchvisions(seed, count, overlap):
    draw = np.random.default_rng(seed)
    corners = draw.uniform(0, 8, (count, 2))
    boxes = torch.from_numpy(np.concatenate([corners, corners + draw.uniform(0.1, 5, (count, 2))], axis=1))
    scores = torch.from_numpy(draw.permutation(count) / 32)
    assert torch.equal(text_spotting.non_max_suppression(boxes, scores, overlap), nms(boxes, scores, overlap))


@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 3))
def test_ctc_decode_is_the_best_of_all_paths(seed, steps, letters):
    logits = 2 * tensor(seed, steps, letters + 1)
    text, score = text_spotting.ctc_decode(logits, "ABC"[:letters])
    log_p = logits.log_softmax(1)
    paths = {path: sum(log_p[t, k].item() for t, k in enumerate(path))
             for path in itertools.product(range(letters + 1), repeat=steps)}  # fmt: skip
    best = max(paths, key=paths.__getitem__)
    assert score == pytest.approx(paths[best])

    def reads(path):
        return "".join("_ABC"[k] for k, _ in itertools.groupby(path) if k)

    assert text == reads(best)
    target = torch.tensor([["_ABC".index(letter) for letter in text]], dtype=torch.int64)
    lengths = torch.tensor([steps]), torch.tensor([len(text)])
    loss = F.ctc_loss(log_p[:, None], target, *lengths, reduction="sum")
    assert -loss.item() == pytest.approx(math.log(sum(math.exp(p) for path, p in paths.items() if reads(path) == text)))


@given(
    st.lists(st.tuples(WORDS, st.integers(0, 8).map(lambda w: w / 8)), max_size=12), st.floats(0, 1), st.floats(0, 2)
)
def test_merged_words_by_the_definition(readings, tolerance, support):
    founders, homes = [], []
    for text, _ in readings:
        near = [f for f in founders if Levenshtein.distance(text, f) <= tolerance * max(len(text), len(f))]
        founders += [] if near else [text]
        homes.append((near or [text])[0])
    words = []
    for founder in founders:
        mine = [r for r, home in zip(readings, homes, strict=True) if home == founder]
        if sum(w for _, w in mine) >= support:
            texts = list(dict.fromkeys(t for t, _ in mine))
            words.append(max(texts, key=lambda text: sum(w for t, w in mine if t == text)))
    assert text_spotting.merge_readings(readings, tolerance, support) == words


@given(st.integers(0, 999), st.integers(2, 8), st.sampled_from([(3, 5), (2, 3, 3, 3), (1, 1)]))
def test_quantized_channels_are_torchs(seed, bits, shape):
    weight = tensor(seed, *shape)
    weight[0] *= seed % 3
    integers, scales = text_spotting.quantize_channels(weight, bits)
    top = 2 ** (bits - 1) - 1
    assert integers.dtype == torch.int8 and integers.abs().max() <= top
    points = torch.zeros(len(weight), dtype=torch.int32)
    fake = torch.fake_quantize_per_channel_affine(weight.float(), scales.float(), points, 0, -top, top)
    rows = scales.view(-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(integers * rows, fake.double(), rtol=1e-5, atol=1e-6)
    assert ((weight - integers * rows).abs() <= rows / 2 * (1 + 1e-9)).all()
    assert ((scales == 1) == (weight.flatten(1) == 0).all(1)).all()


POINT = st.tuples(st.sampled_from([0.0, 1.0, 2.0, math.inf]), st.sampled_from([-math.inf, 0.0, 1.0, 2.0]))


@given(st.lists(POINT, min_size=1, max_size=12))
def test_pareto_front_by_the_definition(points):
    joules, values = map(list, zip(*points, strict=True))
    front = text_spotting.pareto_front(joules, values)
    wanted = []
    for i, (j, v) in enumerate(points):
        others = [p for p in points if p != (j, v)]
        if points.index((j, v)) == i and not any(a <= j and b >= v for a, b in others):
            wanted.append(i)
    assert front == sorted(wanted, key=joules.__getitem__)


@given(st.integers(0, 999), st.floats(0, 1))
def test_packed_tasks_never_change_again(seed, keep):
    weights = {"conv": tensor(seed, 4, 2, 3, 3), "fc": tensor(seed + 1, 3, 5), "bias": tensor(seed + 2, 3)}
    owner = {name: torch.zeros(weights[name].shape, dtype=torch.int64) for name in ("conv", "fc")}
    images, outputs = tensor(seed + 3, 2, 2, 5, 5), []

    def forward(view):
        maps = F.conv2d(images, view["conv"]).mean((2, 3))
        return F.linear(F.pad(maps, (0, 1)), view["fc"], weights["bias"])

    for task in (1, 2, 3, 4):
        weights |= {n: torch.where(o == 0, tensor(seed + 10 * task, *o.shape), weights[n]) for n, o in owner.items()}
        free = {name: int((number == 0).sum()) for name, number in owner.items()}
        weights, owner = text_spotting.pack_task(weights, owner, keep, task)
        for name, number in owner.items():
            assert int((number == task).sum()) == round(keep * free[name])
            assert (weights[name][number == 0] == 0).all()
        outputs.append(forward(text_spotting.task_view(weights, owner, task)))
    for task, before in enumerate(outputs, 1):
        assert torch.equal(forward(text_spotting.task_view(weights, owner, task)), before)


@given(st.integers(0, 999), st.integers(1, 6))
def test_transfer_is_lopez_paz(seed, tasks):
    table = torch.sigmoid(tensor(seed, tasks, tasks)).numpy()
    final, backward = text_spotting.transfer(table.tolist())
    assert final == pytest.approx(table[-1].mean())
    wanted = np.mean([table[-1, j] - table[j, j] for j in range(tasks - 1)]) if tasks > 1 else 0.0
    assert backward == pytest.approx(wanted)


def offline_optimum(scenes: dict, energy: list[float]) -> float:
    """The most summed weight of one reading a scene that any policy could pay for, future known: an integer program.

    Variables: x[t, p], whether point p reads frame t. A scene is the frames between two cuts.
    """
    frames, points = len(energy), len(scenes["joules"])
    cut = np.array(scenes["change"]) > 0.3
    scene = (cut & ~np.roll(cut, 1)).cumsum()
    weights = np.array([[weight for _, weight in row] for row in scenes["readings"]])
    spent = np.kron(np.tri(frames), np.array(scenes["joules"]))  # up to each frame
    once = np.kron((scene[None] == np.unique(scene)[:, None]).astype(float), np.ones(points))
    result = milp(
        -weights.ravel(),
        integrality=np.ones(frames * points),
        bounds=(0, 1),
        constraints=[LinearConstraint(spent, ub=np.cumsum(energy)), LinearConstraint(once, ub=1)],
    )
    assert result.success, result.message
    return -result.fun


@pytest.mark.parametrize("kind", ["even", "early", "bursts"])
def test_policy_comes_near_the_offline_optimum_and_never_above(kind):
    """The best reading of each scene that it paid for weighs at most what the optimum's do, and most of that."""
    parts = []
    for seed in range(3):
        draw = Draw(seed, f"optimum/{kind}")
        scenes, _ = film(draw, 60, 5)
        energy = income(draw, kind, 60, 2.5)
        choices, _ = text_spotting.spot_stream(**scenes, income=energy)
        cut = np.array(scenes["change"]) > 0.3
        scene = (cut & ~np.roll(cut, 1)).cumsum()
        paid = {}
        for frame, choice in enumerate(choices):
            if choice >= 0:
                paid[scene[frame]] = max(paid.get(scene[frame], 0), scenes["readings"][frame][choice][1])
        best = offline_optimum(scenes, energy)
        assert sum(paid.values()) <= best + 1e-6
        parts.append(sum(paid.values()) / best)
    assert np.mean(parts) > 0.7


@given(st.integers(0, 9999), st.sampled_from(["even", "early", "bursts"]), st.floats(0, 20))
def test_stream_owes_nothing_and_looks_at_nothing_that_it_did_not_pay_for(seed, kind, total):
    draw = Draw(seed, "stream")
    scenes, _ = film(draw, 30, 3)
    energy = income(draw, kind, 30, total)

    class Sealed(list):
        """Readings of a frame that may be opened once, by whoever pays."""

        opened: tuple = ()

        def __getitem__(self, point):
            self.opened += (point,)
            return super().__getitem__(point)

    sealed = [Sealed(row) for row in scenes["readings"]]
    choices, _ = text_spotting.spot_stream(**scenes | {"readings": sealed}, income=energy)
    assert [row.opened for row in sealed] == [() if choice < 0 else (choice,) for choice in choices]
    spent = np.cumsum([0 if choice < 0 else scenes["joules"][choice] for choice in choices])
    assert (np.cumsum(energy) - spent >= -1e-9).all()


def test_every_frame_at_the_best_point_reads_every_word():
    """What the bands of spot_stream compare with."""
    best = max(range(len(POINTS)), key=lambda point: POINTS[point][1])
    found = []
    for seed in range(20):
        scenes, truth = film(Draw(seed, "all"))
        point = scenes["values"].index(POINTS[best][1])
        words = text_spotting.merge_readings([row[point] for row in scenes["readings"]], 0.34, 0.6)
        found.append(letters_right(words, truth))
    assert np.mean(found) > 0.99
