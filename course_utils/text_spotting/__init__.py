"""Unit 14: the capstone. A drone reads signs, and every joule counts.

The 2020 Low-Power Computer Vision Challenge, video track: the referee's program, lpcvc/LPCVC2020 in
github.com/lpcvai/2021-LPCVC-Referee.
V. I. Levenshtein, *Binary codes capable of correcting deletions, insertions, and reversals*, Soviet Physics Doklady 10
(1966), 707-710.
A. Graves, S. Fernández, F. Gomez and J. Schmidhuber, *Connectionist Temporal Classification: Labelling Unsegmented
Sequence Data with Recurrent Neural Networks* (CTC), ICML 2006.
X. Zhou, C. Yao, H. Wen, Y. Wang, S. Zhou, W. He and J. Liang, *EAST: An Efficient and Accurate Scene Text Detector*,
CVPR 2017, arXiv:1704.03155.
B. Shi, X. Bai and C. Yao, *An End-to-End Trainable Neural Network for Image-Based Sequence Recognition and Its
Application to Scene Text Recognition* (CRNN), arXiv:1507.05717.
H. Cai, C. Gan, T. Wang, Z. Zhang and S. Han, *Once-for-All: Train One Network and Specialize it for Efficient
Deployment* (OFA), ICLR 2020, arXiv:1908.09791.
A. Mallya and S. Lazebnik, *PackNet: Adding Multiple Tasks to a Single Network by Iterative Pruning*, CVPR 2018,
arXiv:1711.05769.
D. Lopez-Paz and M. Ranzato, *Gradient Episodic Memory for Continual Learning*, NeurIPS 2017, arXiv:1706.08840.

A frame is grey, [height, width], from 0 to 1; x runs to the right, y down, both in pixels. A box is (x0, y0, x1, y1).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def edit_distance(a: str, b: str) -> int:
    """How many single letters one must insert, delete or replace to turn a into b.

    Each counts 1; upper and lower case are different letters; a text may be empty
    (Levenshtein 1966).
    """
    row = list(range(len(b) + 1))  # from the part of a so far, here '', to each prefix of b
    for i, letter in enumerate(a, 1):
        before, row = row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (letter != other)))
    return row[-1]


def reading_accuracy(answers: dict[str, list[str]], truth: dict[str, list[str]]) -> float:
    """How well the words of a film were read, as the challenge's referee counts.

    answers, truth: words by question. A true word's error is the smaller of 1 and its edit
    distance to the nearest word of the same question's answer, divided by its own length;
    it is 1 if that answer is empty or missing. Case is ignored, and words too many cost
    nothing. Returns 1 − the mean error over all true words of all questions together; there
    is one at least, and none is empty (lpcvc/LPCVC2020/ld_calc.py).
    """
    errors = []
    for question, words in truth.items():
        answer = [word.lower() for word in answers.get(question, [])]
        for word in words:
            distances = [edit_distance(word.lower(), other) / len(word) for other in answer]
            errors.append(min([1.0, *distances]))
    return 1 - sum(errors) / len(errors)


def energy_score(
    accuracy: float,
    joules: float,
    seconds: float,
    idle_watts: float,
    minimum: float,
) -> float:
    """The challenge's score: accuracy per joule.

    joules: what the meter has counted in so many seconds; the idle machine's part of it,
    idle_watts in every second, is taken off. Returns accuracy / net joules, in 1/J; 0.0 if
    the accuracy is below the minimum, or if no net joules are left (lpcvc/LPCVC2020).
    """
    net = joules - idle_watts * seconds
    return accuracy / net if accuracy >= minimum and net > 0 else 0.0


def sharpness(frames: Tensor) -> Tensor:
    """How sharp each frame is: the variance of its Laplacian.

    frames: [T, H, W], float32 or float64, H and W from 3 on. The Laplacian of a pixel is
    the sum of its 4 neighbours less 4 times itself, and is taken where all 4 are inside.
    Returns [T], of the same dtype: the population variance of each frame's Laplacian.
    """
    middle = frames[:, 1:-1, 1:-1]
    vertical = frames[:, :-2, 1:-1] + frames[:, 2:, 1:-1]
    horizontal = frames[:, 1:-1, :-2] + frames[:, 1:-1, 2:]
    return (vertical + horizontal - 4 * middle).flatten(1).var(dim=1, correction=0)


def choose_frames(frames: Tensor, window: int, min_change: float) -> list[int]:
    """Which frames of a film are worth reading: the sharpest, if something is new in them.

    frames: [T, H, W]. Of each window of so many frames one after the other (the last window
    may be short) the sharpest is a candidate; of equally sharp ones the first. The first
    candidate is kept; each other one if the mean of its |difference| from the candidate
    that was kept last is at least min_change. Returns the kept frames' indices, rising.
    """
    kept: list[int] = []
    for start in range(0, len(frames), window):
        best = start + int(sharpness(frames[start : start + window]).argmax())
        if not kept or (frames[best] - frames[kept[-1]]).abs().mean() >= min_change:
            kept.append(best)
    return kept


def text_regions(
    frame: Tensor,
    tile: int,
    threshold: float,
) -> list[tuple[int, int, int, int]]:
    """Where in a frame there may be text: regions of strong contrast.

    frame: [H, W], cut into tiles of tile × tile pixels; both sizes are multiples of that. A
    tile whose largest value less its smallest is at least the threshold is busy. Busy tiles
    that touch, along a side or at a corner, belong together. Returns one box (x0, y0, x1,
    y1) around each such region, in whole pixels, x1 and y1 the first that are outside, in
    the order of the regions' first tiles, row by row. Boxes may overlap.
    """
    tiles = frame.unfold(0, tile, tile).unfold(1, tile, tile)
    busy = tiles.amax(dim=(2, 3)) - tiles.amin(dim=(2, 3)) >= threshold
    left = dict.fromkeys(map(tuple, busy.nonzero().tolist()))  # a set that keeps its order
    boxes = []
    while left:
        region = [next(iter(left))]
        del left[region[0]]
        for row, column in region:  # which grows while it is walked through
            around = [(row + dy, column + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            region += [place for place in around if left.pop(place, True) is None]
        rows, columns = zip(*region, strict=True)
        corners = min(columns), min(rows), max(columns) + 1, max(rows) + 1
        boxes.append(tuple(tile * corner for corner in corners))
    return boxes


def decode_boxes(
    score: Tensor,
    distances: Tensor,
    stride: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    """The boxes that a detector's maps speak of (EAST, section 3.3, without rotation).

    score: [h, w], how sure each cell is that text is there. distances: [4, h, w], pixels,
    from a cell's centre to the left, top, right and bottom side of its box. The centre of
    the cell in row y and column x is at ((x + ½) · stride, (y + ½) · stride). Returns
    (boxes [n, 4], scores [n]) of the cells with a score ≥ threshold, row by row, of their
    maps' dtypes.
    """
    rows, columns = (score >= threshold).nonzero(as_tuple=True)
    centres = torch.stack([columns, rows, columns, rows], dim=1) + 0.5
    left, top, right, bottom = distances[:, rows, columns]
    sides = torch.stack([-left, -top, right, bottom], dim=1)
    return (stride * centres).to(sides.dtype) + sides, score[rows, columns]


def non_max_suppression(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Of boxes that overlap the best alone.

    boxes: [n, 4], n ≥ 0. scores: [n]. From the best box to the worst (of equals the first)
    each is kept, unless its intersection over union with a box that *is kept* is larger
    than overlap. Where the union has no area, that is 0. Returns the indices of the kept
    boxes, int64, best first.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    first, last = boxes[:, :2], boxes[:, 2:]
    sides = torch.minimum(last[:, None], last) - torch.maximum(first[:, None], first)
    common = sides.clamp(min=0).prod(dim=2)
    areas = (last - first).prod(dim=1)
    union = areas[:, None] + areas - common
    covers = torch.where(union > 0, common / union, 0) > overlap
    kept: list[int] = []
    for box in range(len(boxes)):
        if not covers[box, kept].any():
            kept.append(box)
    return order[kept]


def ctc_decode(logits: Tensor, alphabet: str) -> tuple[str, float]:
    """Read the most probable path of a recognizer (Graves 2006, section 3.2).

    logits: [T, K + 1], T ≥ 1; class 0 is the blank, class k the k-th letter of the
    alphabet, counted from 1. In each step the class of the largest logit is taken, of
    equals the first; runs of one class become a single one, and then blanks are dropped.
    Returns the text and the natural logarithm of the probability of the path, which is the
    product of its steps' softmax probabilities, computed in float64.
    """
    best, path = torch.log_softmax(logits.double(), dim=1).max(dim=1)
    letters = [alphabet[k - 1] for k in path.unique_consecutive().tolist() if k]
    return "".join(letters), float(best.sum())


def merge_readings(
    readings: Sequence[tuple[str, float]],
    tolerance: float,
    support: float,
) -> list[str]:
    """The words of a film, of many uncertain readings.

    readings: (text, weight) in the order in which they were made. Each joins the first
    cluster whose *first* text is near: at an edit distance of at most tolerance · (the
    longer of the two lengths); if there is none, it founds one. Returns, in the clusters'
    order, a word for each cluster whose weights sum to at least support: that of its texts
    whose weights sum to most, of equals the one that came first.
    """
    clusters: list[list[tuple[str, float]]] = []
    for text, weight in readings:
        for cluster in clusters:
            first = cluster[0][0]
            if edit_distance(text, first) <= tolerance * max(len(text), len(first)):
                cluster.append((text, weight))
                break
        else:
            clusters.append([(text, weight)])
    words = []
    for cluster in clusters:
        weights: dict[str, float] = {}
        for text, weight in cluster:
            weights[text] = weights.get(text, 0.0) + weight
        if sum(weights.values()) >= support:
            words.append(max(weights, key=weights.__getitem__))
    return words


def quantize_channels(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Integers for a layer's weights, with a scale for each output channel.

    weight: [out, in, ...], float32 or float64. bits: from 2 to 8. A channel's scale is its
    largest |w| divided by 2^(bits − 1) − 1, so that −2^(bits − 1) is never used; 1 if all
    its weights are 0. Returns (integers, scales): w / scale, rounded, halves to even, int8
    of the weight's shape, and [out], of its dtype.
    """
    scales = weight.flatten(1).abs().amax(dim=1) / (2 ** (bits - 1) - 1)
    scales = torch.where(scales > 0, scales, 1)
    rows = scales.view(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight / rows).to(torch.int8), scales


def pareto_front(joules: Sequence[float], values: Sequence[float]) -> list[int]:
    """The operating points that are worth having.

    joules, values: of each point, numbers or infinite. Fewer joules and larger values are
    better. Returns the indices, by rising joules, of the points to which no other is equal
    or better in both; of equal points the first.
    """
    front: list[int] = []
    for point in sorted(range(len(joules)), key=lambda p: (joules[p], -values[p])):
        if not front or values[point] > values[front[-1]]:
            front.append(point)
    return front


def pack_task(
    weights: dict[str, Tensor],
    owner: dict[str, Tensor],
    keep_fraction: float,
    task: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Give a task that was just trained its weights, and free the rest (PackNet, 3).

    weights: by name. owner: int64, by the names of some of them, of their shapes: the
    number of the task that a weight belongs to, 0 if it is free. In each tensor with owners
    exactly `round(keep_fraction * free)` of its free weights (Python's round), those with
    the largest |w|, of equals the first, row by row, now belong to the task; its other free
    weights become 0. Nothing else changes. Returns new (weights, owner).
    """
    packed = {name: weight.clone() for name, weight in weights.items()}
    owners: dict[str, Tensor] = {}
    for name, number in owner.items():
        flat, flat_owner = weights[name].flatten().clone(), number.flatten().clone()
        free = (flat_owner == 0).nonzero().flatten()
        largest_first = free[flat[free].abs().argsort(descending=True, stable=True)]
        kept = round(keep_fraction * len(free))
        flat_owner[largest_first[:kept]] = task
        flat[largest_first[kept:]] = 0
        packed[name], owners[name] = flat.view(number.shape), flat_owner.view(number.shape)
    return packed, owners


def task_view(
    weights: dict[str, Tensor],
    owner: dict[str, Tensor],
    task: int,
) -> dict[str, Tensor]:
    """The network that a task sees: its own weights and those of all tasks before it.

    weights, owner: as in `pack_task`. Returns new weights: those whose owner is one of 1,
    2, …, task stay, all others are exactly 0; tensors without owners are as they were
    (PackNet, section 3).
    """
    view = {name: weight.clone() for name, weight in weights.items()}
    for name, number in owner.items():
        view[name] = torch.where((number >= 1) & (number <= task), weights[name], 0)
    return view


def transfer(accuracy: Sequence[Sequence[float]]) -> tuple[float, float]:
    """What is left of the tasks after the last one (Lopez-Paz 2017, section 2).

    accuracy: T rows of T numbers, R[i][j] that of task j after task i was learned. Returns
    (the mean of the last row, the mean of R[last][j] − R[j][j] over the tasks j before the
    last). The second is the backward transfer: negative where tasks were forgotten, 0.0 if
    there is one task.
    """
    last = accuracy[-1]
    changes = [last[j] - accuracy[j][j] for j in range(len(last) - 1)]
    return sum(last) / len(last), sum(changes) / max(1, len(changes))


def spot_stream(
    sharpness: Sequence[float],
    change: Sequence[float],
    readings: Sequence[Sequence[tuple[str, float]]],
    joules: Sequence[float],
    values: Sequence[float],
    income: Sequence[float],
    tolerance: float = 0.34,
    support: float = 0.6,
) -> tuple[list[int], list[str]]:
    """Read a film while the energy for it comes in: a policy of your own.

    A film of T frames; P operating points, in any order, some of them useless. sharpness:
    [T], in any unit. change: [T], how much of a frame is new since the one before, from 0
    to 1. readings: [T][P], (text, weight), what point p would read in frame t: look at
    readings[t][p] only if you pay for it. joules, values: [P], what a reading costs and how
    good it is, not negative. income: [T], joules; income[t] arrives before frame t is read.
    The battery is empty at first, holds any amount, and never owes: what was spent up to
    any frame is at most what arrived up to then. Frames come one by one: nothing that
    belongs to a later frame may change a choice.

    Returns (choices, words): for each frame the point that reads it, or −1; and what
    `merge_readings` makes, with this tolerance and support, of all readings that were paid
    for, in the order of the frames. Any choices within these rules are right; how many
    words they read is judged in bands.
    """
    # The cheapest point that is nearly as good as the best; what is worse is no bargain
    point = next(p for p in pareto_front(joules, values) if values[p] >= 0.9 * max(values))
    battery, unread, sharpest = 0.0, 1.0, 0.0
    choices: list[int] = []
    paid: list[tuple[str, float]] = []
    for frame, sharp in enumerate(sharpness):
        battery += income[frame]
        unread = min(1.0, unread + change[frame])  # of what is in view
        sharpest = max(sharp, 0.9 * sharpest)  # of late
        choices.append(-1)
        if joules[point] <= battery and unread > 0.3 and sharp >= 0.9 * sharpest:
            choices[-1] = point
            battery -= joules[point]
            paid.append(readings[frame][point])
            # Who is sure leaves nothing to read, and what failed some times is given up
            unread *= max(0.0, 1 - max(0.3, paid[-1][1]))
    return choices, merge_readings(paid, tolerance, support)
