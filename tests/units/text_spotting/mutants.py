"""Mutants and right variants of unit 14."""

import difflib
import functools
import itertools
import math
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F
from rapidfuzz.distance import DamerauLevenshtein, Indel, Levenshtein
from scipy import ndimage
from torchvision.ops import box_iou

from course_utils import text_spotting
from tests.checks.catalogue import mutant, right

# --- 14.1a edit_distance ----------------------------------------------------------------------------------------------


@mutant("14.1a", "Hamming: letter by letter")
def distance_hamming(a, b):
    return sum(x != y for x, y in itertools.zip_longest(a, b))


@mutant("14.1a", "letter by letter, as far as the shorter goes")
def distance_zip(a, b):
    return sum(x != y for x, y in zip(a, b, strict=False))


@mutant("14.1a", "two letters that change places cost 1")
def distance_damerau(a, b):
    return DamerauLevenshtein.distance(a, b)


@mutant("14.1a", "a replacement costs 2")
def distance_indel(a, b):
    return Indel.distance(a, b)


@mutant("14.1a", "the difference of the lengths")
def distance_lengths(a, b):
    return abs(len(a) - len(b))


@mutant("14.1a", "the letters that are not in both, without their order")
def distance_bags(a, b):
    left, right_ = Counter(a), Counter(b)
    return max((left - right_).total(), (right_ - left).total())


@mutant("14.1a", "the first row starts with zeros")
def distance_part(a, b):
    row = [0] * (len(b) + 1)
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (x != y)))
    return row[-1]


@mutant("14.1a", "the best of the last row: the end of b costs nothing")
def distance_end_free(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (x != y)))
    return min(row)


@mutant("14.1a", "no deletion")
def distance_no_deletion(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


@mutant("14.1a", "equal letters are always matched, though a detour is cheaper")
def distance_greedy(a, b):
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return sum(max(i1 - i0, j1 - j0) for tag, i0, i1, j0, j1 in blocks if tag != "equal")


@mutant("14.1a", "case ignored")
def distance_case(a, b):
    return Levenshtein.distance(a.lower(), b.lower())


@mutant("14.1a", "a part of the longer text, not a number of steps")
def distance_normalized(a, b):
    return Levenshtein.normalized_distance(a, b)


@mutant("14.1a", "capped at 255")
def distance_capped(a, b):
    return min(255, Levenshtein.distance(a, b))


@right("14.1a")
def distance_library(a, b):
    return Levenshtein.distance(a, b)


@right("14.1a")
def distance_memo(a, b):
    @functools.cache
    def step(i, j):
        if not i or not j:
            return i + j
        return min(step(i - 1, j) + 1, step(i, j - 1) + 1, step(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    for i in range(len(a)):  # row by row, so that no recursion goes deep
        for j in range(len(b)):
            step(i, j)
    return step(len(a), len(b))


@right("14.1a")
def distance_table(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int64)
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, j in itertools.product(range(len(a)), range(len(b))):
        table[i + 1, j + 1] = min(table[i, j + 1] + 1, table[i + 1, j] + 1, table[i, j] + (a[i] != b[j]))
    return table[-1, -1]


# --- 14.1b reading_accuracy -------------------------------------------------------------------------------------------


def errors(answers, truth, error, lower=str.lower):
    """The errors of the true words, question by question."""
    return [
        [error(lower(w), [lower(x) for x in answers.get(q, [])]) for w in words] for q, words in truth.items() if words
    ]


def usual(word, answer):
    return min([1.0, *(Levenshtein.distance(word, x) / len(word) for x in answer)])


def mean(rows):
    rows = list(itertools.chain.from_iterable(rows))
    return sum(rows) / len(rows)


@mutant("14.1b", "Hamming distance")
def accuracy_hamming(answers, truth):
    def error(word, answer):
        return min([1.0, *(distance_hamming(word, x) / len(word) for x in answer)])

    return 1 - mean(errors(answers, truth, error))


@mutant("14.1b", "right or wrong, nothing between")
def accuracy_exact(answers, truth):
    return 1 - mean(errors(answers, truth, lambda w, answer: 0.0 if w in answer else 1.0))


@mutant("14.1b", "errors not capped")
def accuracy_uncapped(answers, truth):
    def error(word, answer):
        return min((Levenshtein.distance(word, x) / len(word) for x in answer), default=1.0)

    return 1 - mean(errors(answers, truth, error))


@mutant("14.1b", "capped after the mean only")
def accuracy_capped_late(answers, truth):
    def error(word, answer):
        return min((Levenshtein.distance(word, x) / len(word) for x in answer), default=1.0)

    return max(0.0, 1 - mean(errors(answers, truth, error)))


@mutant("14.1b", "divided by the longer length")
def accuracy_longer(answers, truth):
    def error(word, answer):
        return min((Levenshtein.distance(word, x) / max(len(word), len(x)) for x in answer), default=1.0)

    return 1 - mean(errors(answers, truth, error))


@mutant("14.1b", "divided by the answer's length")
def accuracy_answer_length(answers, truth):
    def error(word, answer):
        return min([1.0, *(Levenshtein.distance(word, x) / max(1, len(x)) for x in answer)])

    return 1 - mean(errors(answers, truth, error))


@mutant("14.1b", "the mean of the questions' means")
def accuracy_mean_of_means(answers, truth):
    rows = errors(answers, truth, usual)
    return 1 - sum(sum(row) / len(row) for row in rows) / len(rows)


@mutant("14.1b", "case counts")
def accuracy_case(answers, truth):
    return 1 - mean(errors(answers, truth, usual, lower=str))


@mutant("14.1b", "case ignored in the truth only")
def accuracy_case_half(answers, truth):
    lower = {q: [w.lower() for w in words] for q, words in truth.items()}
    return 1 - mean(errors(answers, lower, usual, lower=str))


@mutant("14.1b", "words are compared in order")
def accuracy_in_order(answers, truth):
    pairs = [(w, x) for q, words in truth.items() for w, x in itertools.zip_longest(words, answers.get(q, [])) if w]
    return 1 - sum(usual(w.lower(), [x.lower()] if x else []) for w, x in pairs) / len(pairs)


@mutant("14.1b", "each answer may serve once")
def accuracy_once(answers, truth):
    every = []
    for question, words in truth.items():
        left = [x.lower() for x in answers.get(question, [])]
        for each in words:
            every.append(usual(each.lower(), left))
            if left:
                left.remove(min(left, key=lambda x: Levenshtein.distance(each.lower(), x)))
    return 1 - sum(every) / len(every)


@mutant("14.1b", "words too many count as errors")
def accuracy_precision(answers, truth):
    rows = errors(answers, truth, usual) + errors(truth, answers, usual)
    return 1 - mean(rows)


@mutant("14.1b", "a question that was not answered does not count")
def accuracy_skips(answers, truth):
    rows = errors(answers, {q: words for q, words in truth.items() if answers.get(q)}, usual)
    return 1 - mean(rows) if rows else 0.0


@mutant("14.1b", "all answers together")
def accuracy_together(answers, truth):
    every = [x.lower() for words in answers.values() for x in words]
    return 1 - mean(errors(answers, truth, lambda w, _: usual(w, every)))


@mutant("14.1b", "the error itself")
def accuracy_error(answers, truth):
    return mean(errors(answers, truth, usual))


@mutant("14.1b", "the first word of the answer")
def accuracy_first(answers, truth):
    return 1 - mean(errors(answers, truth, lambda w, answer: usual(w, answer[:1])))


@mutant("14.1b", "letters over letters: long words weigh more")
def accuracy_letters(answers, truth):
    words = [(w, answers.get(q, [])) for q, words in truth.items() for w in words]
    wrong = sum(len(w) * usual(w.lower(), [x.lower() for x in answer]) for w, answer in words)
    return 1 - wrong / sum(len(w) for w, _ in words)


@right("14.1b")
def accuracy_rows(answers, truth):
    return 1 - mean(errors(answers, truth, usual))


@right("14.1b")
def accuracy_numpy(answers, truth):
    found = []
    for question in truth:
        for true in truth[question]:
            nearest = len(true)
            for other in answers.get(question, []):
                nearest = min(nearest, Levenshtein.distance(true.casefold(), other.casefold()))
            found.append(1 - nearest / len(true))
    return np.mean(found)


@right("14.1b")
def accuracy_counted(answers, truth):
    total, count = 0.0, 0
    for question, words in truth.items():
        for true in words:
            count += 1
            rest = [Levenshtein.distance(true.upper(), x.upper()) for x in answers.get(question) or []]
            total += max(0.0, 1 - min(rest) / len(true)) if rest else 0.0
    return total / count


# --- 14.1c energy_score -----------------------------------------------------------------------------------------------


@mutant("14.1c", "idle energy not taken off")
def score_gross(accuracy, joules, seconds, idle_watts, minimum):
    return accuracy / joules if accuracy >= minimum and joules > idle_watts * seconds else 0.0


@mutant("14.1c", "idle power taken off without the time")
def score_watts(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts
    return accuracy / net if accuracy >= minimum and net > 0 else 0.0


@mutant("14.1c", "divided by the power")
def score_power(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return accuracy * seconds / net if accuracy >= minimum and net > 0 else 0.0


@mutant("14.1c", "more than the minimum")
def score_above(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return accuracy / net if accuracy > minimum and net > 0 else 0.0


@mutant("14.1c", "no minimum")
def score_no_minimum(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return accuracy / net if net > 0 else 0.0


@mutant("14.1c", "the minimum is taken off")
def score_over_minimum(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return (accuracy - minimum) / net if accuracy >= minimum and net > 0 else 0.0


@mutant("14.1c", "no net energy divides by 0")
def score_division(accuracy, joules, seconds, idle_watts, minimum):
    return accuracy / (joules - idle_watts * seconds) if accuracy >= minimum else 0.0


@mutant("14.1c", "infinite if there is no net energy")
def score_infinite(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return (accuracy / net if net > 0 else math.inf) if accuracy >= minimum else 0.0


@mutant("14.1c", "negative net energy gives a negative score")
def score_negative(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return accuracy / net if accuracy >= minimum and net else 0.0


@mutant("14.1c", "a small ε in the denominator")
def score_epsilon(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return accuracy / (net + 1e-8) if accuracy >= minimum and net > 0 else 0.0


@mutant("14.1c", "as an integer 0")
def score_integer(accuracy, joules, seconds, idle_watts, minimum):
    net = joules - idle_watts * seconds
    return round(accuracy / net, 3) if accuracy >= minimum and net > 0 else 0


@right("14.1c")
def score_steps(accuracy, joules, seconds, idle_watts, minimum):
    if accuracy < minimum:
        return 0.0
    used = joules - seconds * idle_watts
    if used <= 0:
        return 0.0
    return accuracy / used


@right("14.1c")
def score_numpy(accuracy, joules, seconds, idle_watts, minimum):
    net = np.float64(joules) - idle_watts * seconds
    return np.float64(accuracy) / net if net > 0 and not accuracy < minimum else np.float64(0)


@right("14.1c")
def score_net(accuracy, joules, seconds, idle_watts, minimum):
    net = max(0.0, joules - idle_watts * seconds)
    counts = accuracy >= minimum
    return counts * accuracy / net if net else 0.0


# --- 14.2a sharpness --------------------------------------------------------------------------------------------------


def laplacians(frames, kernel=((0, 1, 0), (1, -4, 1), (0, 1, 0)), padding=0):
    weight = torch.tensor(kernel, dtype=frames.dtype)[None, None]
    return F.conv2d(frames[:, None], weight, padding=padding)[:, 0].flatten(1)


@mutant("14.2a", "the border too, padded with zeros")
def sharp_padded(frames):
    return laplacians(frames, padding=1).var(1, correction=0)


@mutant("14.2a", "the border too, repeated")
def sharp_repeated(frames):
    return laplacians(F.pad(frames[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]).var(1, correction=0)


@mutant("14.2a", "the border wraps around")
def sharp_rolled(frames):
    around = sum(frames.roll(step, axis) for step in (1, -1) for axis in (1, 2))
    return (around - 4 * frames).flatten(1).var(1, correction=0)


@mutant("14.2a", "sample variance")
def sharp_sample(frames):
    return laplacians(frames).var(1)


@mutant("14.2a", "mean square")
def sharp_mean_square(frames):
    return (laplacians(frames) ** 2).mean(1)


@mutant("14.2a", "eight neighbours")
def sharp_eight(frames):
    return laplacians(frames, ((1, 1, 1), (1, -8, 1), (1, 1, 1))).var(1, correction=0)


@mutant("14.2a", "diagonal neighbours")
def sharp_diagonal(frames):
    return laplacians(frames, ((1, 0, 1), (0, -4, 0), (1, 0, 1))).var(1, correction=0)


@mutant("14.2a", "neighbours less the pixel once")
def sharp_centre_once(frames):
    return laplacians(frames, ((0, 1, 0), (1, -1, 1), (0, 1, 0))).var(1, correction=0)


@mutant("14.2a", "standard deviation")
def sharp_deviation(frames):
    return laplacians(frames).std(1, correction=0)


@mutant("14.2a", "mean of the sizes")
def sharp_sizes(frames):
    return laplacians(frames).abs().mean(1)


@mutant("14.2a", "variance of the pixels")
def sharp_pixels(frames):
    return frames[:, 1:-1, 1:-1].flatten(1).var(1, correction=0)


@mutant("14.2a", "over the whole film")
def sharp_film(frames):
    return laplacians(frames).var(correction=0).expand(len(frames))


@mutant("14.2a", "along rows only")
def sharp_rows(frames):
    return laplacians(frames, ((0, 0, 0), (1, -2, 1), (0, 0, 0))).var(1, correction=0)


@mutant("14.2a", "in float32")
def sharp_narrow(frames):
    return laplacians(frames.float()).var(1, correction=0).to(frames.dtype)


@mutant("14.2a", "relative to the mean light")
def sharp_relative(frames):
    return laplacians(frames).var(1, correction=0) / (1 + frames.flatten(1).mean(1)) ** 2


@right("14.2a")
def sharp_convolution(frames):
    return laplacians(frames).var(1, unbiased=False)


@right("14.2a")
def sharp_scipy(frames):
    inner = [ndimage.laplace(frame.numpy())[1:-1, 1:-1] for frame in frames]
    return torch.from_numpy(np.stack([each.var(dtype=each.dtype) for each in inner]))


@right("14.2a")
def sharp_differences(frames):
    rows, columns = frames.diff(n=2, dim=1)[:, :, 1:-1], frames.diff(n=2, dim=2)[:, 1:-1]
    inner = rows + columns
    off = inner - inner.mean((1, 2), keepdim=True)
    return (off**2).mean((1, 2))


# --- 14.2b choose_frames ----------------------------------------------------------------------------------------------


def choose(frames, window, min_change, best=None, change=None, last="kept", enough=lambda a, b: a >= b, stop=None):
    """`choose_frames` with one of its parts replaced."""
    sharp = text_spotting.sharpness(frames)
    change = change or (lambda a, b: float((a - b).abs().mean()))
    best = best or (lambda part: int(part.argmax()))
    kept, before = [], None
    for start in range(0, stop or len(frames), window):
        candidate = start + best(sharp[start : start + window])
        if before is None or enough(change(frames[candidate], frames[before]), min_change):
            kept.append(candidate)
        if last == "candidate" or (kept and kept[-1] == candidate):
            before = candidate
    return kept


@mutant("14.2b", "every window's first frame")
def frames_every(frames, window, min_change):
    return choose(frames, window, min_change, best=lambda part: 0)


@mutant("14.2b", "compared with the last candidate")
def frames_last_candidate(frames, window, min_change):
    return choose(frames, window, min_change, last="candidate")


@mutant("14.2b", "the short last window dropped")
def frames_no_rest(frames, window, min_change):
    return choose(frames[: len(frames) // window * window], window, min_change)


@mutant("14.2b", "of equals the last")
def frames_last_equal(frames, window, min_change):
    return choose(frames, window, min_change, best=lambda part: len(part) - 1 - int(part.flip(0).argmax()))


@mutant("14.2b", "more than min_change")
def frames_more(frames, window, min_change):
    return choose(frames, window, min_change, enough=lambda a, b: a > b or (b == 0))


@mutant("14.2b", "more than min_change, at 0 too")
def frames_more_at_zero(frames, window, min_change):
    return choose(frames, window, min_change, enough=lambda a, b: a > b)


@mutant("14.2b", "the size of the mean difference")
def frames_mean_first(frames, window, min_change):
    return choose(frames, window, min_change, change=lambda a, b: float((a - b).mean().abs()))


@mutant("14.2b", "the largest difference")
def frames_largest(frames, window, min_change):
    return choose(frames, window, min_change, change=lambda a, b: float((a - b).abs().max()))


@mutant("14.2b", "root of the mean square")
def frames_rms(frames, window, min_change):
    return choose(frames, window, min_change, change=lambda a, b: float((a - b).pow(2).mean().sqrt()))


@mutant("14.2b", "the sum of |difference|")
def frames_sum(frames, window, min_change):
    return choose(frames, window, min_change, change=lambda a, b: float((a - b).abs().sum()))


@mutant("14.2b", "the least sharp")
def frames_least(frames, window, min_change):
    return choose(frames, window, min_change, best=lambda part: int(part.argmin()))


@mutant("14.2b", "indices inside the windows")
def frames_local(frames, window, min_change):
    return [each % window for each in choose(frames, window, min_change)]


@mutant("14.2b", "the first frame must have changed too")
def frames_first(frames, window, min_change):
    kept = choose(frames, window, min_change)
    return kept if float(frames[kept[0]].abs().mean()) >= min_change else kept[1:]


@mutant("14.2b", "compared with all that were kept")
def frames_all_kept(frames, window, min_change):
    kept = []
    for each in choose(frames, window, 0.0):
        if all(float((frames[each] - frames[k]).abs().mean()) >= min_change for k in kept):
            kept.append(each)
    return kept


@mutant("14.2b", "the next sharpest of the window, where the sharpest has not changed")
def frames_next_sharpest(frames, window, min_change):
    sharp, kept = text_spotting.sharpness(frames).tolist(), []
    for start in range(0, len(frames), window):
        for each in sorted(range(start, min(start + window, len(frames))), key=lambda t: -sharp[t]):
            if not kept or float((frames[each] - frames[kept[-1]]).abs().mean()) >= min_change:
                kept.append(each)
                break
    return kept


@mutant("14.2b", "as a tensor")
def frames_tensor(frames, window, min_change):
    return torch.tensor(choose(frames, window, min_change))


@mutant("14.2b", "a min_change of 0 is taken for none: only the first")
def frames_falsy(frames, window, min_change):
    return choose(frames, window, min_change or math.inf)


@mutant("14.2b", "the contrast instead of the sharpness")
def frames_brightest(frames, window, min_change):
    light = frames.flatten(1).mean(1)
    return [i + int(light[i : i + window].argmax()) for i in range(0, len(frames), window)]


@right("14.2b")
def frames_split(frames, window, min_change):
    sharp = text_spotting.sharpness(frames).split(window)
    candidates = [i * window + int(part.argmax()) for i, part in enumerate(sharp)]
    kept = candidates[:1]
    for each in candidates[1:]:
        kept += [each] if F.l1_loss(frames[each], frames[kept[-1]]) >= min_change else []
    return kept


@right("14.2b")
def frames_numpy(frames, window, min_change):
    sharp, array = text_spotting.sharpness(frames).numpy(), frames.numpy()
    kept, last = [], None
    for start in range(0, len(sharp), window):
        best = start + np.argmax(sharp[start : start + window])
        if last is None or np.abs(array[best] - last).mean() >= min_change:
            kept.append(best)
            last = array[best]
    return kept


@right("14.2b")
def frames_max(frames, window, min_change):
    sharp = laplacians(frames).var(1, correction=0).tolist()
    kept = []
    for start in range(0, len(sharp), window):
        part = sharp[start : start + window]
        best = start + part.index(max(part))
        if not kept or not float((frames[best] - frames[kept[-1]]).abs().mean()) < min_change:
            kept.append(best)
    return kept


# --- 14.3 text_regions ------------------------------------------------------------------------------------------------


def busy_tiles(frame, tile, threshold):
    tiles = frame.reshape(frame.shape[0] // tile, tile, frame.shape[1] // tile, tile)
    return (tiles.amax((1, 3)) - tiles.amin((1, 3))) >= threshold


EIGHT = np.ones((3, 3))


def regions(busy, tile, structure=EIGHT):
    """By SciPy, whose labels come in the order of the first tiles."""
    labels, _ = ndimage.label(busy.numpy(), structure)
    found = ndimage.find_objects(labels)
    return [(c.start * tile, r.start * tile, c.stop * tile, r.stop * tile) for r, c in found]


@mutant("14.3", "four neighbours")
def regions_four(frame, tile, threshold):
    return regions(busy_tiles(frame, tile, threshold), tile, None)


@mutant("14.3", "corners only")
def regions_corners(frame, tile, threshold):
    return regions(busy_tiles(frame, tile, threshold), tile, np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]))


@mutant("14.3", "rows for columns")
def regions_swapped(frame, tile, threshold):
    return [(b, a, d, c) for a, b, c, d in regions(busy_tiles(frame, tile, threshold), tile)]


@mutant("14.3", "more than the threshold")
def regions_more(frame, tile, threshold):
    tiles = frame.reshape(frame.shape[0] // tile, tile, frame.shape[1] // tile, tile)
    return regions(tiles.amax((1, 3)) - tiles.amin((1, 3)) > threshold, tile)


@mutant("14.3", "ends inclusive")
def regions_inclusive(frame, tile, threshold):
    return [(a, b, c - 1, d - 1) for a, b, c, d in regions(busy_tiles(frame, tile, threshold), tile)]


@mutant("14.3", "in tiles, not in pixels")
def regions_in_tiles(frame, tile, threshold):
    return regions(busy_tiles(frame, tile, threshold), 1)


@mutant("14.3", "the largest value alone")
def regions_bright(frame, tile, threshold):
    tiles = frame.reshape(frame.shape[0] // tile, tile, frame.shape[1] // tile, tile)
    return regions(tiles.amax((1, 3)) >= threshold, tile)


@mutant("14.3", "the standard deviation")
def regions_deviation(frame, tile, threshold):
    tiles = frame.reshape(frame.shape[0] // tile, tile, frame.shape[1] // tile, tile)
    return regions(tiles.transpose(1, 2).flatten(2).std(2) >= threshold, tile)


@mutant("14.3", "in the order of the boxes")
def regions_sorted(frame, tile, threshold):
    return sorted(regions(busy_tiles(frame, tile, threshold), tile), key=lambda box: (box[1], box[0]))


@mutant("14.3", "from left to right")
def regions_by_x(frame, tile, threshold):
    return sorted(regions(busy_tiles(frame, tile, threshold), tile))


@mutant("14.3", "each tile a box")
def regions_each_tile(frame, tile, threshold):
    return [
        (c * tile, r * tile, (c + 1) * tile, (r + 1) * tile) for r, c in busy_tiles(frame, tile, threshold).nonzero()
    ]


@mutant("14.3", "overlapping boxes are joined")
def regions_joined(frame, tile, threshold):
    boxes, found = regions(busy_tiles(frame, tile, threshold), tile), []
    for a in boxes:
        inside = any(b != a and b[0] <= a[0] and b[1] <= a[1] and b[2] >= a[2] and b[3] >= a[3] for b in boxes)
        found += [] if inside else [a]
    return found


@mutant("14.3", "one pass over the tiles: what meets only later stays apart")
def regions_one_pass(frame, tile, threshold):
    labels, boxes = {}, {}
    for r, c in busy_tiles(frame, tile, threshold).nonzero().tolist():
        before = [labels[p] for p in ((r - 1, c - 1), (r - 1, c), (r - 1, c + 1), (r, c - 1)) if p in labels]
        label = labels[r, c] = min(before, default=len(boxes))
        a, b, x, y = boxes.get(label, (c, r, c + 1, r + 1))
        boxes[label] = (min(a, c), min(b, r), max(x, c + 1), max(y, r + 1))
    return [tuple(tile * corner for corner in box) for box in boxes.values()]


@mutant("14.3", "neighbours wrap around at the ends of rows")
def regions_wrapped(frame, tile, threshold):
    busy = busy_tiles(frame, tile, threshold)
    width, left, boxes = busy.shape[1], busy.flatten().nonzero().flatten().tolist(), []
    while left:
        region = [left.pop(0)]
        for place in region:
            around = [place + d for d in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)]
            region += [p for p in around if p in left]
            left = [p for p in left if p not in around]
        rows, columns = [p // width for p in region], [p % width for p in region]
        boxes.append((tile * min(columns), tile * min(rows), tile * (max(columns) + 1), tile * (max(rows) + 1)))
    return boxes


@mutant("14.3", "three rounds of growing")
def regions_rounds(frame, tile, threshold):
    busy = busy_tiles(frame, tile, threshold)
    labels = torch.where(busy, torch.arange(busy.numel(), 0, -1).view(busy.shape), 0).float()
    for _ in range(3):
        labels = F.max_pool2d(labels[None], 3, 1, 1)[0] * busy
    boxes = []
    for label in sorted(set(labels[busy].tolist()), reverse=True):
        at = (labels == label).nonzero()
        (a, b), (c, d) = at.amin(0).tolist(), at.amax(0).tolist()
        boxes.append((b * tile, a * tile, (d + 1) * tile, (c + 1) * tile))
    return boxes


@right("14.3")
def regions_scipy(frame, tile, threshold):
    return regions(busy_tiles(frame, tile, threshold), tile)


@right("14.3")
def regions_grown(frame, tile, threshold):
    busy = busy_tiles(frame, tile, threshold)
    labels = torch.where(busy, torch.arange(busy.numel(), 0, -1).view(busy.shape), 0).float()
    while True:
        grown = F.max_pool2d(labels[None], 3, 1, 1)[0] * busy
        if torch.equal(grown, labels):
            break
        labels = grown
    boxes = []
    for label in sorted(set(labels[busy].tolist()), reverse=True):
        at = (labels == label).nonzero()
        (a, b), (c, d) = at.amin(0).tolist(), at.amax(0).tolist()
        boxes.append((b * tile, a * tile, (d + 1) * tile, (c + 1) * tile))
    return boxes


@right("14.3")
def regions_recursive(frame, tile, threshold):
    array = frame.numpy()
    height, width = array.shape[0] // tile, array.shape[1] // tile
    busy, boxes = {}, []
    for row, column in itertools.product(range(height), range(width)):
        part = array[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
        if part.max() - part.min() >= threshold:
            busy[row, column] = False
    for start in busy:
        if busy[start]:
            continue
        stack, box, busy[start] = [start], [start[1], start[0], start[1] + 1, start[0] + 1], True
        while stack:
            row, column = stack.pop()
            box = [min(box[0], column), min(box[1], row), max(box[2], column + 1), max(box[3], row + 1)]
            for place in itertools.product((row - 1, row, row + 1), (column - 1, column, column + 1)):
                if busy.get(place) is False:
                    busy[place] = True
                    stack.append(place)
        boxes.append([tile * corner for corner in box])
    return boxes


# --- 14.4a decode_boxes -----------------------------------------------------------------------------------------------


def decoded(score, distances, stride, threshold, half=0.5, signs=(-1, -1, 1, 1), order=(0, 1, 2, 3), swap=False):
    """`decode_boxes` with one of its parts replaced."""
    rows, columns = (score >= threshold).nonzero(as_tuple=True)
    x, y = (rows, columns) if swap else (columns, rows)
    centres = torch.stack([x, y, x, y], 1).to(distances.dtype) + half
    sides = distances[list(order)][:, rows, columns].T * torch.tensor(signs, dtype=distances.dtype)
    return centres * stride + sides, score[rows, columns]


@mutant("14.4a", "x from the row, y from the column")
def decode_swapped(score, distances, stride, threshold):
    return decoded(score, distances, stride, threshold, swap=True)


@mutant("14.4a", "from the corner of the cell")
def decode_corner(score, distances, stride, threshold):
    return decoded(score, distances, stride, threshold, half=0)


@mutant("14.4a", "left and top added")
def decode_added(score, distances, stride, threshold):
    return decoded(score, distances, stride, threshold, signs=(1, 1, 1, 1))


@mutant("14.4a", "top first, as in the paper: top, right, bottom, left")
def decode_paper(score, distances, stride, threshold):
    return decoded(score, distances, stride, threshold, order=(3, 0, 1, 2))


@mutant("14.4a", "width and height in place of the second corner")
def decode_sizes(score, distances, stride, threshold):
    boxes, scores = decoded(score, distances, stride, threshold)
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1), scores


@mutant("14.4a", "more than the threshold")
def decode_more(score, distances, stride, threshold):
    return decoded(torch.where(score > threshold, score, -1), distances, stride, max(threshold, 0))


@mutant("14.4a", "best first")
def decode_best_first(score, distances, stride, threshold):
    boxes, scores = decoded(score, distances, stride, threshold)
    order = scores.argsort(descending=True, stable=True)
    return boxes[order], scores[order]


@mutant("14.4a", "column by column")
def decode_columns(score, distances, stride, threshold):
    boxes, scores = decoded(score, distances, stride, threshold)
    columns = (score >= threshold).nonzero()[:, 1]
    order = columns.argsort(stable=True)
    return boxes[order], scores[order]


@mutant("14.4a", "distances in cells")
def decode_cells(score, distances, stride, threshold):
    return decoded(score, distances * stride, stride, threshold)


@mutant("14.4a", "stride forgotten")
def decode_no_stride(score, distances, stride, threshold):
    return decoded(score, distances, 1, threshold)


@mutant("14.4a", "half a pixel, not half a cell")
def decode_half_pixel(score, distances, stride, threshold):
    return decoded(score, distances, stride, threshold, half=0.5 / stride)


@mutant("14.4a", "cut off at 0")
def decode_clamped(score, distances, stride, threshold):
    boxes, scores = decoded(score, distances, stride, threshold)
    return boxes.clamp(min=0), scores


@mutant("14.4a", "no scores where no cell is")
def decode_list(score, distances, stride, threshold):
    boxes, scores = decoded(score, distances, stride, threshold)
    return torch.tensor(boxes.tolist(), dtype=boxes.dtype), torch.tensor(scores.tolist(), dtype=scores.dtype)


@mutant("14.4a", "all in float32")
def decode_narrow(score, distances, stride, threshold):
    boxes, scores = decoded(score.float(), distances.float(), stride, threshold)
    return boxes.to(distances.dtype), scores.to(score.dtype)


@mutant("14.4a", "scores in the distances' dtype")
def decode_score_dtype(score, distances, stride, threshold):
    boxes, scores = decoded(score, distances, stride, threshold)
    return boxes, scores.to(distances.dtype)


@mutant("14.4a", "squeezed where there is one box")
def decode_squeezed(score, distances, stride, threshold):
    boxes, scores = decoded(score, distances, stride, threshold)
    return boxes.squeeze(), scores.squeeze()


@right("14.4a")
def decode_parts(score, distances, stride, threshold):
    return decoded(score, distances, stride, threshold)


@right("14.4a")
def decode_grid(score, distances, stride, threshold):
    y = (torch.arange(score.shape[0], dtype=distances.dtype) + 0.5) * stride
    x = (torch.arange(score.shape[1], dtype=distances.dtype) + 0.5) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    left, top, right_, bottom = distances
    keep = score >= threshold
    return torch.stack([x - left, y - top, x + right_, y + bottom], -1)[keep], score[keep]


@right("14.4a")
def decode_loop(score, distances, stride, threshold):
    found, scores = distances.new_zeros(0, 4), score.new_zeros(0)
    for y, x in itertools.product(range(score.shape[0]), range(score.shape[1])):
        if score[y, x] >= threshold:
            centre = torch.tensor([x + 0.5, y + 0.5], dtype=distances.dtype) * stride
            corners = torch.cat([centre - distances[:2, y, x], centre + distances[2:, y, x]])
            found, scores = torch.cat([found, corners[None]]), torch.cat([scores, score[y, x].view(1)])
    return found, scores


# --- 14.4b non_max_suppression ----------------------------------------------------------------------------------------


def iou(a, b):
    """[n, m], 0 without area."""
    sides = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).clamp(min=0)
    common = sides.prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1) - common
    return torch.where(union > 0, common / union, 0)


def suppress(boxes, scores, overlap, ratio=iou, goes=lambda a, b: a > b, order=None):
    """`non_max_suppression` with one of its parts replaced."""
    order = scores.argsort(descending=True, stable=True) if order is None else order
    kept = []
    for each in order.tolist():
        if not kept or not goes(ratio(boxes[each : each + 1], boxes[kept]), overlap).any():
            kept.append(each)
    return torch.tensor(kept, dtype=torch.int64)


@mutant("14.4b", "boxes that are gone still suppress")
def nms_gone_suppress(boxes, scores, overlap):
    order = scores.argsort(descending=True, stable=True)
    covers = (iou(boxes[order], boxes[order]) > overlap).tril(-1).any(1)
    return order[~covers]


@mutant("14.4b", "an IoU of exactly overlap goes")
def nms_equal_goes(boxes, scores, overlap):
    return suppress(boxes, scores, overlap, goes=lambda a, b: (a >= b) & (a > 0))


@mutant("14.4b", "in the order of the input")
def nms_input_order(boxes, scores, overlap):
    return suppress(boxes, scores, overlap).sort().values


@mutant("14.4b", "the first is the best")
def nms_unsorted(boxes, scores, overlap):
    return suppress(boxes, scores, overlap, order=torch.arange(len(boxes)))


@mutant("14.4b", "of equals the last")
def nms_last_equal(boxes, scores, overlap):
    order = len(scores) - 1 - scores.flip(0).argsort(descending=True, stable=True)
    return suppress(boxes, scores, overlap, order=order)


@mutant("14.4b", "worst first")
def nms_worst_first(boxes, scores, overlap):
    return suppress(boxes, scores, overlap, order=scores.argsort(stable=True))


@mutant("14.4b", "the common part over the smaller box")
def nms_smaller(boxes, scores, overlap):
    def ratio(a, b):
        sides = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).clamp(min=0)
        areas = torch.minimum((a[:, 2:] - a[:, :2]).prod(-1)[:, None], (b[:, 2:] - b[:, :2]).prod(-1))
        return torch.where(areas > 0, sides.prod(-1) / areas, 0)

    return suppress(boxes, scores, overlap, ratio)


@mutant("14.4b", "the common part over the sum of the areas")
def nms_sum(boxes, scores, overlap):
    def ratio(a, b):
        sides = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).clamp(min=0)
        areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)
        return torch.where(areas > 0, sides.prod(-1) / areas, 0)

    return suppress(boxes, scores, overlap, ratio)


@mutant("14.4b", "sides not cut off at 0")
def nms_no_clamp(boxes, scores, overlap):
    def ratio(a, b):
        common = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).prod(-1)
        union = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1) - common
        return torch.where(union > 0, common / union, 0)

    return suppress(boxes, scores, overlap, ratio)


@mutant("14.4b", "the last pixel is inside: one added to each side")
def nms_plus_one(boxes, scores, overlap):
    return suppress(boxes + torch.tensor([0.0, 0, 1, 1], dtype=boxes.dtype), scores, overlap)


@mutant("14.4b", "0/0 is NaN, and what is not at most overlap goes")
def nms_nan(boxes, scores, overlap):
    return suppress(boxes, scores, overlap, box_iou, goes=lambda a, b: ~(a <= b))


@mutant("14.4b", "a mask, not indices")
def nms_mask(boxes, scores, overlap):
    mask = torch.zeros(len(boxes), dtype=torch.bool)
    mask[suppress(boxes, scores, overlap)] = True
    return mask


@mutant("14.4b", "no box makes a float tensor")
def nms_float(boxes, scores, overlap):
    return torch.tensor(suppress(boxes, scores, overlap).tolist())


@mutant("14.4b", "boxes with a score of 0 or less are dropped")
def nms_positive(boxes, scores, overlap):
    kept = suppress(boxes, scores, overlap)
    return kept[scores[kept] > 0]


@mutant("14.4b", "one neighbour only: compared with the last kept one")
def nms_last_kept(boxes, scores, overlap):
    kept = []
    for each in scores.argsort(descending=True, stable=True).tolist():
        if not kept or iou(boxes[each : each + 1], boxes[kept[-1:]])[0, 0] <= overlap:
            kept.append(each)
    return torch.tensor(kept, dtype=torch.int64)


@right("14.4b")
def nms_parts(boxes, scores, overlap):
    return suppress(boxes, scores, overlap)


@right("14.4b")
def nms_shrinking(boxes, scores, overlap):
    left, kept = scores.argsort(descending=True, stable=True), []
    while len(left):
        kept.append(int(left[0]))
        left = left[1:][~(iou(boxes[left[1:]], boxes[left[:1]])[:, 0] > overlap)]
    return torch.tensor(kept, dtype=torch.int64)


@right("14.4b")
def nms_torchvision_iou(boxes, scores, overlap):
    ratio = box_iou(boxes, boxes).nan_to_num(0.0) if len(boxes) else torch.zeros(0, 0)
    kept: list[int] = []
    for each in sorted(range(len(boxes)), key=lambda i: -scores[i].item()):
        if all(ratio[each, k] <= overlap for k in kept):
            kept.append(each)
    return torch.tensor(kept).long()


# --- 14.5 ctc_decode --------------------------------------------------------------------------------------------------


def ctc(path, logits, alphabet, score=None):
    letters = "".join(alphabet[k - 1] for k in path if k)
    return letters, score if score is not None else float(logits.double().log_softmax(1).amax(1).sum())


def merge_path(path):
    return [k for k, _ in itertools.groupby(path)]


@mutant("14.5", "blanks dropped before repeats are merged")
def ctc_blanks_first(logits, alphabet):
    return ctc(merge_path([k for k in logits.argmax(1).tolist() if k]), logits, alphabet)


@mutant("14.5", "the most probable text, not that of the best path")
def ctc_most_probable(logits, alphabet):
    beams = {(): (1.0, 0.0)}  # of each text the probability of its paths that end in a blank, and of the others
    for step in logits.double().softmax(dim=1).tolist():
        grown = {}
        for text, (blank, letter) in beams.items():
            ways = [(text, (blank + letter) * step[0], 0.0)]
            for k, probability in enumerate(step[1:], 1):
                again = text[-1:] == (k,)
                ways.append(((*text, k), 0.0, (blank if again else blank + letter) * probability))
                if again:
                    ways.append((text, 0.0, letter * probability))
            for longer, to_blank, to_letter in ways:
                before = grown.get(longer, (0.0, 0.0))
                grown[longer] = before[0] + to_blank, before[1] + to_letter
        beams = dict(sorted(grown.items(), key=lambda beam: -sum(beam[1]))[:20])
    best = max(beams, key=lambda text: sum(beams[text]))
    return "".join(alphabet[k - 1] for k in best), text_spotting.ctc_decode(logits, alphabet)[1]


@mutant("14.5", "repeats not merged")
def ctc_unmerged(logits, alphabet):
    return ctc(logits.argmax(1).tolist(), logits, alphabet)


@mutant("14.5", "every class once")
def ctc_unique(logits, alphabet):
    return ctc(list(dict.fromkeys(logits.argmax(1).tolist())), logits, alphabet)


@mutant("14.5", "the blank is the last class")
def ctc_blank_last(logits, alphabet):
    path = merge_path(logits.argmax(1).tolist())
    return "".join(alphabet[k] for k in path if k < len(alphabet)), ctc([], logits, alphabet)[1]


@mutant("14.5", "letters one too far")
def ctc_shifted(logits, alphabet):
    path = merge_path(logits.argmax(1).tolist())
    return "".join(alphabet[k % len(alphabet)] for k in path if k), ctc([], logits, alphabet)[1]


@mutant("14.5", "the sum of the raw logits")
def ctc_raw(logits, alphabet):
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet, float(logits.amax(1).double().sum()))


@mutant("14.5", "the probability, not its logarithm")
def ctc_product(logits, alphabet):
    best = logits.double().softmax(1).amax(1)
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet, float(best.prod()))


@mutant("14.5", "the mean over the steps")
def ctc_mean(logits, alphabet):
    best = logits.double().log_softmax(1).amax(1)
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet, float(best.mean()))


@mutant("14.5", "softmax over the steps")
def ctc_wrong_axis(logits, alphabet):
    best = logits.double().log_softmax(0).amax(1)
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet, float(best.sum()))


@mutant("14.5", "the text's probability, of all its paths")
def ctc_of_text(logits, alphabet):
    text, _ = ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet)
    target = torch.tensor([[1 + alphabet.index(letter) for letter in text]], dtype=torch.int64)
    lengths = torch.tensor([len(logits)]), torch.tensor([len(text)])
    loss = F.ctc_loss(logits.double().log_softmax(1)[:, None], target, *lengths, reduction="sum")
    return text, -float(loss)


@mutant("14.5", "steps with a blank do not count")
def ctc_letters_only(logits, alphabet):
    best, path = logits.double().log_softmax(1).max(1)
    return ctc(merge_path(path.tolist()), logits, alphabet, float(best[path > 0].sum()))


@mutant("14.5", "repeats count once")
def ctc_merged_probability(logits, alphabet):
    best, path = logits.double().log_softmax(1).max(1)
    first = [0, *(t for t in range(1, len(path)) if path[t] != path[t - 1])]
    return ctc(merge_path(path.tolist()), logits, alphabet, float(best[first].sum()))


@mutant("14.5", "of equals the last class")
def ctc_last_equal(logits, alphabet):
    path = (logits.shape[1] - 1 - logits.flip(1).argmax(1)).tolist()
    return ctc(merge_path(path), logits, alphabet)


@mutant("14.5", "in float32")
def ctc_narrow(logits, alphabet):
    best = logits.float().log_softmax(1).amax(1).sum()
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet, float(best))


@mutant("14.5", "exponentials without the maximum taken off")
def ctc_overflow(logits, alphabet):
    wide = logits.double()
    best = (wide.amax(1).exp() / wide.exp().sum(1)).log()
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet, float(best.sum()))


@mutant("14.5", "a tensor for the log-probability")
def ctc_tensor(logits, alphabet):
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet, logits.double().log_softmax(1).amax(1).sum())


@mutant("14.5", "a letter that comes back after a blank is merged")
def ctc_across_blanks(logits, alphabet):
    text, score = ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet)
    return "".join(k for k, _ in itertools.groupby(text)), score


@mutant("14.5", "the alphabet sorted")
def ctc_sorted(logits, alphabet):
    return ctc(merge_path(logits.argmax(1).tolist()), logits, "".join(sorted(alphabet)))


@mutant("14.5", "classes in int8")
def ctc_int8(logits, alphabet):
    return ctc(merge_path(logits.argmax(1).to(torch.int8).tolist()), logits, alphabet)


@right("14.5")
def ctc_groupby(logits, alphabet):
    return ctc(merge_path(logits.argmax(1).tolist()), logits, alphabet)


@right("14.5")
def ctc_loop(logits, alphabet):
    text, score, before = "", 0.0, 0
    for row in logits.double():
        k = int(row.argmax())
        score += float(row[k] - torch.logsumexp(row, 0))
        text += alphabet[k - 1] if k and k != before else ""
        before = k
    return text, score


@right("14.5")
def ctc_numpy(logits, alphabet):
    array = logits.numpy().astype(np.float64)
    array = array - array.max(1, keepdims=True)
    path = array.argmax(1)
    changed = np.concatenate([[True], path[1:] != path[:-1]])
    text = "".join(("_" + alphabet)[k] for k in path[changed] if k)
    return text, -np.log(np.exp(array).sum(1)).sum()


# --- 14.6 merge_readings ----------------------------------------------------------------------------------------------


def merge(readings, tolerance, support, near=None, find=None, weigh=None, key=None, stand=None, enough=None):
    """`merge_readings` with one of its parts replaced."""

    def usual_near(text, cluster):
        first = cluster[0][0]
        return Levenshtein.distance(text, first) <= tolerance * max(len(text), len(first))

    near = near or usual_near
    clusters = []
    for text, weight in readings:
        fitting = [cluster for cluster in clusters if near(text, cluster)]
        if fitting:
            (find(text, fitting) if find else fitting[0]).append((text, weight))
        else:
            clusters.append([(text, weight)])
    words = []
    for cluster in clusters:
        total = (weigh or (lambda c: sum(w for _, w in c)))(cluster)
        if (enough or (lambda a, b: a >= b))(total, support):
            sums = {}
            for text, weight in cluster:
                sums[text] = sums.get(text, 0) + (key(weight) if key else weight)
            words.append(stand(cluster, sums) if stand else max(sums, key=sums.get))
    return words


@mutant("14.6", "empty readings left out")
def merge_no_empty(readings, tolerance, support):
    return text_spotting.merge_readings([each for each in readings if each[0]], tolerance, support)


@mutant("14.6", "near to the last text")
def merge_last(readings, tolerance, support):
    def near(text, cluster):
        last = cluster[-1][0]
        return Levenshtein.distance(text, last) <= tolerance * max(len(text), len(last))

    return merge(readings, tolerance, support, near)


@mutant("14.6", "near to any text of the cluster")
def merge_any(readings, tolerance, support):
    def near(text, cluster):
        return any(Levenshtein.distance(text, t) <= tolerance * max(len(text), len(t)) for t, _ in cluster)

    return merge(readings, tolerance, support, near)


@mutant("14.6", "near to all texts of the cluster")
def merge_all(readings, tolerance, support):
    def near(text, cluster):
        return all(Levenshtein.distance(text, t) <= tolerance * max(len(text), len(t)) for t, _ in cluster)

    return merge(readings, tolerance, support, near)


@mutant("14.6", "near to the heaviest text")
def merge_heaviest(readings, tolerance, support):
    def near(text, cluster):
        heaviest = max(cluster, key=lambda r: r[1])[0]
        return Levenshtein.distance(text, heaviest) <= tolerance * max(len(text), len(heaviest))

    return merge(readings, tolerance, support, near)


@mutant("14.6", "joins the nearest cluster")
def merge_nearest(readings, tolerance, support):
    def find(text, fitting):
        return min(fitting, key=lambda c: Levenshtein.distance(text, c[0][0]))

    return merge(readings, tolerance, support, find=find)


@mutant("14.6", "joins the last cluster that fits")
def merge_last_cluster(readings, tolerance, support):
    return merge(readings, tolerance, support, find=lambda text, fitting: fitting[-1])


@mutant("14.6", "joins every cluster that fits")
def merge_every(readings, tolerance, support):
    clusters = []
    for text, weight in readings:
        fitting = [
            c for c in clusters if Levenshtein.distance(text, c[0][0]) <= tolerance * max(len(text), len(c[0][0]))
        ]
        for cluster in fitting:
            cluster.append((text, weight))
        clusters += [] if fitting else [[(text, weight)]]
    return [merge(c, 1e9, support)[0] for c in clusters if sum(w for _, w in c) >= support]


@mutant("14.6", "the shorter length")
def merge_shorter(readings, tolerance, support):
    def near(text, cluster):
        first = cluster[0][0]
        return Levenshtein.distance(text, first) <= tolerance * min(len(text), len(first))

    return merge(readings, tolerance, support, near)


@mutant("14.6", "the length of the first text")
def merge_first_length(readings, tolerance, support):
    def near(text, cluster):
        return Levenshtein.distance(text, cluster[0][0]) <= tolerance * len(cluster[0][0])

    return merge(readings, tolerance, support, near)


@mutant("14.6", "the length of the new text")
def merge_new_length(readings, tolerance, support):
    def near(text, cluster):
        return Levenshtein.distance(text, cluster[0][0]) <= tolerance * len(text)

    return merge(readings, tolerance, support, near)


@mutant("14.6", "the tolerance as a number of letters")
def merge_letters(readings, tolerance, support):
    return merge(readings, tolerance, support, lambda t, c: Levenshtein.distance(t, c[0][0]) <= tolerance)


@mutant("14.6", "nearer than the tolerance")
def merge_strictly(readings, tolerance, support):
    def near(text, cluster):
        first = cluster[0][0]
        return text == first or Levenshtein.distance(text, first) < tolerance * max(len(text), len(first))

    return merge(readings, tolerance, support, near)


@mutant("14.6", "case ignored")
def merge_case(readings, tolerance, support):
    return merge([(text.upper(), weight) for text, weight in readings], tolerance, support)


@mutant("14.6", "the most frequent text")
def merge_frequent(readings, tolerance, support):
    return merge(readings, tolerance, support, key=lambda weight: 1)


@mutant("14.6", "the text of the heaviest single reading")
def merge_single(readings, tolerance, support):
    return merge(readings, tolerance, support, stand=lambda c, s: max(c, key=lambda r: r[1])[0])


@mutant("14.6", "the first text")
def merge_stands(readings, tolerance, support):
    return merge(readings, tolerance, support, stand=lambda c, s: c[0][0])


@mutant("14.6", "of equals the last")
def merge_last_equal(readings, tolerance, support):
    return merge(readings, tolerance, support, stand=lambda c, s: max(reversed(s), key=s.get))


@mutant("14.6", "of equals the first of the alphabet")
def merge_alphabet(readings, tolerance, support):
    return merge(readings, tolerance, support, stand=lambda c, s: min(s, key=lambda t: (-s[t], t)))


@mutant("14.6", "more than the support")
def merge_more(readings, tolerance, support):
    return merge(readings, tolerance, support, enough=lambda a, b: a > b)


@mutant("14.6", "support of the word, not of the cluster")
def merge_word_support(readings, tolerance, support):
    def weigh(cluster):
        sums = Counter()
        for text, weight in cluster:
            sums[text] += weight
        return max(sums.values())

    return merge(readings, tolerance, support, weigh=weigh)


@mutant("14.6", "support counts readings")
def merge_counts(readings, tolerance, support):
    return merge(readings, tolerance, support, weigh=len)


@mutant("14.6", "the mean weight")
def merge_mean(readings, tolerance, support):
    return merge(readings, tolerance, support, weigh=lambda c: sum(w for _, w in c) / len(c))


@mutant("14.6", "heaviest cluster first")
def merge_by_weight(readings, tolerance, support):
    words = merge(readings, tolerance, support)
    sums = Counter()
    for text, weight in readings:
        sums[text] += weight
    return sorted(words, key=lambda w: -sums[w])


@mutant("14.6", "by the alphabet")
def merge_sorted(readings, tolerance, support):
    return sorted(merge(readings, tolerance, support))


@mutant("14.6", "readings without weight are dropped, also at a support of 0")
def merge_weightless(readings, tolerance, support):
    return merge([(t, w) for t, w in readings if w], tolerance, support)


@right("14.6")
def merge_parts(readings, tolerance, support):
    return merge(readings, tolerance, support)


@right("14.6")
def merge_dicts(readings, tolerance, support):
    clusters: dict[str, dict[str, float]] = {}
    for text, weight in readings:
        home = next((f for f in clusters if Levenshtein.distance(text, f) <= tolerance * max(len(text), len(f))), text)
        sums = clusters.setdefault(home, {})
        sums[text] = sums.get(text, 0.0) + weight
    return [max(sums, key=sums.get) for sums in clusters.values() if sum(sums.values()) >= support]


@right("14.6")
def merge_lists(readings, tolerance, support):
    firsts, members = [], []
    for text, weight in readings:
        near = [i for i, f in enumerate(firsts) if Levenshtein.distance(text, f) <= tolerance * max(len(text), len(f))]
        if not near:
            near = [len(firsts)]
            firsts.append(text)
            members.append([])
        members[near[0]].append((text, weight))
    words = []
    for cluster in members:
        if sum(weight for _, weight in cluster) >= support:
            best, most = None, -math.inf
            for text, _ in cluster:
                total = sum(weight for other, weight in cluster if other == text)
                if total > most:
                    best, most = text, total
            words.append(best)
    return words


# --- 14.7 quantize_channels -------------------------------------------------------------------------------------------


def quantized(weight, bits, top=None, largest=None, rounding=torch.round, empty=1.0):
    """`quantize_channels` with one of its parts replaced."""
    largest = weight.flatten(1).abs().amax(1) if largest is None else largest
    scales = largest / (2 ** (bits - 1) - 1 if top is None else top)
    scales = torch.where(scales == 0, empty, scales)
    return rounding(weight / scales.view(-1, *[1] * (weight.dim() - 1))).to(torch.int8), scales


@mutant("14.7", "one scale for all channels")
def quantize_one_scale(weight, bits):
    return quantized(weight, bits, largest=weight.abs().max().expand(len(weight)))


@mutant("14.7", "a scale for each input channel")
def quantize_inputs(weight, bits):
    integers, _ = quantized(weight.transpose(0, 1), bits)
    return integers.transpose(0, 1), quantized(weight, bits)[1]


@mutant("14.7", "the whole range: −2^(bits − 1) is used")
def quantize_whole_range(weight, bits):
    return quantized(weight, bits, top=2 ** (bits - 1), rounding=lambda q: q.round().clamp(max=2 ** (bits - 1) - 1))


@mutant("14.7", "2^bits − 1 steps")
def quantize_unsigned(weight, bits):
    return quantized(weight, bits, top=2**bits - 1)


@mutant("14.7", "the largest weight, not the largest |w|")
def quantize_largest(weight, bits):
    return quantized(weight, bits, largest=weight.flatten(1).amax(1).clamp(min=0))


@mutant("14.7", "half of the range from smallest to largest")
def quantize_span(weight, bits):
    flat = weight.flatten(1)
    return quantized(weight, bits, largest=(flat.amax(1) - flat.amin(1)) / 2)


@mutant("14.7", "cut, not rounded")
def quantize_cut(weight, bits):
    return quantized(weight, bits, rounding=torch.trunc)


@mutant("14.7", "rounded down")
def quantize_floor(weight, bits):
    return quantized(weight, bits, rounding=torch.floor)


@mutant("14.7", "halves up")
def quantize_half_up(weight, bits):
    return quantized(weight, bits, rounding=lambda q: torch.floor(q + 0.5))


@mutant("14.7", "halves away from zero")
def quantize_half_away(weight, bits):
    return quantized(weight, bits, rounding=lambda q: q.sign() * torch.floor(q.abs() + 0.5))


@mutant("14.7", "0/0 for a channel of zeros")
def quantize_nan(weight, bits):
    return quantized(weight, bits, empty=math.nan)


@mutant("14.7", "a scale of 0 for a channel of zeros")
def quantize_zero_scale(weight, bits):
    integers, scales = quantized(weight, bits)
    return integers, torch.where(weight.flatten(1).any(1), scales, 0)


@mutant("14.7", "a small ε in the scale")
def quantize_epsilon(weight, bits):
    return quantized(weight, bits, largest=weight.flatten(1).abs().amax(1) + 1e-8)


@mutant("14.7", "scales cut off at 1e-12")
def quantize_clamped(weight, bits):
    return quantized(weight, bits, largest=weight.flatten(1).abs().amax(1).clamp(min=1e-12))


@mutant("14.7", "always eight bits")
def quantize_eight(weight, bits):
    return quantized(weight, 8)


@mutant("14.7", "floats of whole numbers")
def quantize_floats(weight, bits):
    integers, scales = quantized(weight, bits)
    return integers.to(weight.dtype), scales


@mutant("14.7", "scales in float32")
def quantize_narrow(weight, bits):
    integers, scales = quantized(weight.float(), bits)
    return integers, scales.to(weight.dtype)


@mutant("14.7", "the inverse of the scale")
def quantize_inverse(weight, bits):
    integers, scales = quantized(weight, bits)
    return integers, 1 / scales


@mutant("14.7", "scales kept in the weight's shape")
def quantize_shape(weight, bits):
    integers, scales = quantized(weight, bits)
    return integers, scales.view(-1, *[1] * (weight.dim() - 1))


@mutant("14.7", "the last axis only has its largest taken: matrices")
def quantize_last_axis(weight, bits):
    integers, scales = quantized(weight.reshape(-1, weight.shape[-1]), bits)
    return integers.view(weight.shape), scales


@right("14.7")
def quantize_parts(weight, bits):
    return quantized(weight, bits)


@right("14.7")
def quantize_channel_by_channel(weight, bits):
    integers, scales = torch.zeros(weight.shape, dtype=torch.int8), torch.ones(len(weight), dtype=weight.dtype)
    for i, channel in enumerate(weight):
        if channel.any():
            scales[i] = channel.abs().max() / (2 ** (bits - 1) - 1)
            integers[i] = (channel / scales[i]).round()
    return integers, scales


@right("14.7")
def quantize_numpy(weight, bits):
    array = weight.numpy()
    largest = np.abs(array).max(axis=tuple(range(1, array.ndim)), keepdims=True)
    scales = np.where(largest > 0, largest / array.dtype.type(2 ** (bits - 1) - 1), array.dtype.type(1))
    return torch.from_numpy(np.rint(array / scales).astype(np.int8)), torch.from_numpy(scales.reshape(-1))


@right("14.7")
def quantize_fake(weight, bits):
    top = 2 ** (bits - 1) - 1
    _, scales = quantized(weight, bits)
    rows = scales.view(-1, *[1] * (weight.dim() - 1))
    return torch.clamp((weight / rows).round(), -top, top).char(), scales


# --- 14.8 pareto_front ------------------------------------------------------------------------------------------------


def front(joules, values, beaten, key=None):
    """The points that are not beaten, by rising joules."""
    points = range(len(joules))
    keep = [i for i in points if not any(beaten(i, k) for k in points if k != i)]
    return sorted(keep, key=key or (lambda i: joules[i]))


def front_of(joules, values):
    def beaten(i, k):
        no_worse = joules[k] <= joules[i] and values[k] >= values[i]
        return no_worse and (joules[k] != joules[i] or values[k] != values[i] or k < i)

    return front(joules, values, beaten)


@mutant("14.8", "equal points all stay")
def front_equals_stay(joules, values):
    def beaten(i, k):
        no_worse = joules[k] <= joules[i] and values[k] >= values[i]
        return no_worse and (joules[k] != joules[i] or values[k] != values[i])

    return front(joules, values, beaten)


@mutant("14.8", "equal points all go")
def front_equals_go(joules, values):
    return front(joules, values, lambda i, k: joules[k] <= joules[i] and values[k] >= values[i])


@mutant("14.8", "of equal points the last")
def front_last_equal(joules, values):
    def beaten(i, k):
        no_worse = joules[k] <= joules[i] and values[k] >= values[i]
        return no_worse and (joules[k] != joules[i] or values[k] != values[i] or k > i)

    return front(joules, values, beaten)


@mutant("14.8", "beaten only if worse in both")
def front_strict(joules, values):
    return front(joules, values, lambda i, k: joules[k] < joules[i] and values[k] > values[i])


@mutant("14.8", "beaten if worse in one")
def front_either(joules, values):
    return front(joules, values, lambda i, k: joules[k] < joules[i] or values[k] > values[i])


@mutant("14.8", "more joules are better")
def front_dear(joules, values):
    return front_of([-j for j in joules], values)[::-1]


@mutant("14.8", "smaller values are better")
def front_cheap_values(joules, values):
    return front_of(joules, [-v for v in values])


@mutant("14.8", "in the order of the input")
def front_unsorted(joules, values):
    return sorted(front_of(joules, values))


@mutant("14.8", "by falling joules")
def front_falling(joules, values):
    return front_of(joules, values)[::-1]


@mutant("14.8", "places in the sorted list")
def front_places(joules, values):
    order = sorted(range(len(joules)), key=lambda i: (joules[i], -values[i]))
    return [order.index(i) for i in front_of(joules, values)]


@mutant("14.8", "a sweep that sorts by joules alone")
def front_unsorted_values(joules, values):
    kept = []
    for i in sorted(range(len(joules)), key=lambda i: joules[i]):
        if not kept or values[i] > values[kept[-1]]:
            kept.append(i)
    return kept


@mutant("14.8", "a sweep that keeps equal values")
def front_equal_values(joules, values):
    kept = []
    for i in sorted(range(len(joules)), key=lambda i: (joules[i], -values[i])):
        if not kept or values[i] >= values[kept[-1]]:
            kept.append(i)
    return kept


@mutant("14.8", "a sweep that starts at 0")
def front_from_zero(joules, values):
    kept, best = [], 0.0
    for i in sorted(range(len(joules)), key=lambda i: (joules[i], -values[i])):
        if values[i] > best:
            kept.append(i)
            best = values[i]
    return kept


@mutant("14.8", "a sweep that starts at −∞")
def front_from_infinity(joules, values):
    kept, best = [], -math.inf
    for i in sorted(range(len(joules)), key=lambda i: (joules[i], -values[i])):
        if values[i] > best:
            kept.append(i)
            best = values[i]
    return kept


@mutant("14.8", "compared with the next point only")
def front_neighbours(joules, values):
    order = sorted(range(len(joules)), key=lambda i: (joules[i], -values[i]))
    return [i for k, i in zip([None, *order], order, strict=False) if k is None or values[i] > values[k]]


@mutant("14.8", "best value for a joule")
def front_ratio(joules, values):
    return [max(range(len(joules)), key=lambda i: values[i] / joules[i] if joules[i] else math.inf)]


@mutant("14.8", "the points, not their indices")
def front_points(joules, values):
    return [(joules[i], values[i]) for i in front_of(joules, values)]


@mutant("14.8", "infinite joules left out")
def front_finite(joules, values):
    return [i for i in front_of(joules, values) if math.isfinite(joules[i])]


@right("14.8")
def front_pairs(joules, values):
    return front_of(joules, values)


@right("14.8")
def front_sweep(joules, values):
    kept, seen = [], []
    for _, v, i in sorted(zip(joules, (-v for v in values), range(len(joules)), strict=True)):
        if not seen or v < seen[-1]:
            kept.append(i)
            seen.append(v)
    return kept


@right("14.8")
def front_numpy(joules, values):
    j, v = np.array(joules, dtype=float), np.array(values, dtype=float)
    order = np.lexsort((np.arange(len(j)), -v, j))
    before = np.maximum.accumulate(v[order])
    return [int(i) for place, i in enumerate(order) if place == 0 or v[i] > before[place - 1]]


# --- 14.9a pack_task --------------------------------------------------------------------------------------------------


def pack(weights, owner, keep_fraction, task, count=None, rank=torch.abs, free=None, rest=0.0, names=None, stable=True):
    """`pack_task` with one of its parts replaced."""
    new, owners = {n: w.clone() for n, w in weights.items()}, {n: o.clone() for n, o in owner.items()}
    for name in names or owner:
        if name not in owner:
            continue
        flat, number = new[name].reshape(-1).clone(), owners[name].reshape(-1).clone()
        places = ((number == 0) if free is None else free(number)).nonzero().flatten()
        order = places[rank(flat[places]).argsort(descending=True, stable=stable)]
        kept = (count or (lambda f, n: round(keep_fraction * f)))(len(places), flat.numel())
        number[order[:kept]] = task
        if rest is not None:
            flat[order[kept:]] = rest
        new[name], owners[name] = flat.view(weights[name].shape), number.view(weights[name].shape)
    return new, owners


@mutant("14.9a", "a fraction of all weights")
def pack_of_all(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, count=lambda f, n: min(f, round(keep_fraction * n)))


@mutant("14.9a", "cut, not rounded")
def pack_cut(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, count=lambda f, n: int(keep_fraction * f))


@mutant("14.9a", "rounded up")
def pack_ceil(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, count=lambda f, n: math.ceil(keep_fraction * f))


@mutant("14.9a", "one at least")
def pack_one_at_least(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, count=lambda f, n: max(1, round(keep_fraction * f)))


@mutant("14.9a", "halves up")
def pack_half_up(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, count=lambda f, n: int(keep_fraction * f + 0.5))


@mutant("14.9a", "the rest stays")
def pack_rest_stays(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, rest=None)


@mutant("14.9a", "largest, with their signs")
def pack_signed(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, rank=lambda w: w)


@mutant("14.9a", "the smallest are kept")
def pack_smallest(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, rank=lambda w: -w.abs())


@mutant("14.9a", "owned weights are ranked and taken too")
def pack_takes(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task, free=lambda number: number >= 0)


@mutant("14.9a", "owned weights are ranked, then spared")
def pack_ranked(weights, owner, keep_fraction, task):
    new, owners = {}, {}
    for name, weight in weights.items():
        if name not in owner:
            new[name] = weight.clone()
            continue
        free = owner[name] == 0
        kept = round(keep_fraction * int(free.sum()))
        best = torch.zeros(weight.numel(), dtype=torch.bool)
        best[weight.flatten().abs().argsort(descending=True, stable=True)[:kept]] = True
        best = best.view(weight.shape)
        owners[name] = torch.where(free & best, task, owner[name])
        new[name] = torch.where(free & ~best, 0, weight)
    return new, owners


@mutant("14.9a", "zeros count as free, whoever owns them")
def pack_zeros_free(weights, owner, keep_fraction, task):
    new, owners = {n: w.clone() for n, w in weights.items()}, {n: o.clone() for n, o in owner.items()}
    for name in owner:
        flat, number = new[name].reshape(-1).clone(), owners[name].reshape(-1).clone()
        places = ((number == 0) | (flat == 0)).nonzero().flatten()
        order = places[flat[places].abs().argsort(descending=True, stable=True)]
        kept = round(keep_fraction * len(places))
        number[order[:kept]] = task
        flat[order[kept:]] = 0
        new[name], owners[name] = flat.view(new[name].shape), number.view(new[name].shape)
    return new, owners


@mutant("14.9a", "all tensors together")
def pack_global(weights, owner, keep_fraction, task):
    free = {n: o == 0 for n, o in owner.items()}
    sizes = torch.cat([weights[n][f].abs() for n, f in free.items()] or [torch.zeros(0)])
    kept = round(keep_fraction * len(sizes))
    best = torch.zeros(len(sizes), dtype=torch.bool)
    best[sizes.argsort(descending=True, stable=True)[:kept]] = True
    new, owners, start = {n: w.clone() for n, w in weights.items()}, {n: o.clone() for n, o in owner.items()}, 0
    for name, places in free.items():
        mine = best[start : start + int(places.sum())]
        start += len(mine)
        owners[name][places] = torch.where(mine, task, 0)
        new[name][places] = torch.where(mine, new[name][places], 0)
    return new, owners


@mutant("14.9a", "a threshold: all equals are kept")
def pack_threshold(weights, owner, keep_fraction, task):
    new, owners = {n: w.clone() for n, w in weights.items()}, {n: o.clone() for n, o in owner.items()}
    for name in owner:
        free = owner[name] == 0
        sizes = new[name][free].abs()
        kept = round(keep_fraction * len(sizes))
        least = sizes.sort(descending=True).values[kept - 1] if kept else torch.tensor(math.inf)
        mine = free & (new[name].abs() >= least) & (kept > 0)
        owners[name] = torch.where(mine, task, owners[name])
        new[name] = torch.where(free & ~mine, 0, new[name])
    return new, owners


@mutant("14.9a", "of equals the last")
def pack_last_equal(weights, owner, keep_fraction, task):
    def rank(sizes):
        return sizes.abs()

    turned = {n: w.flatten().flip(0).view(w.shape) for n, w in weights.items()}
    back = pack(
        turned, {n: o.flatten().flip(0).view(o.shape) for n, o in owner.items()}, keep_fraction, task, rank=rank
    )
    return tuple({n: v.flatten().flip(0).view(v.shape) for n, v in part.items()} for part in back)


@mutant("14.9a", "a product with a mask keeps infinity as NaN")
def pack_product(weights, owner, keep_fraction, task):
    _, owners = pack(weights, owner, keep_fraction, task)
    return {n: w * (owners[n] > 0) if n in owners else w.clone() for n, w in weights.items()}, owners


@mutant("14.9a", "tensors without owners are pruned too")
def pack_everything(weights, owner, keep_fraction, task):
    every = {n: owner.get(n, torch.zeros(w.shape, dtype=torch.int64)) for n, w in weights.items()}
    new, owners = pack(weights, every, keep_fraction, task)
    return new, {n: owners[n] for n in owner}


@mutant("14.9a", "tensors without owners left out")
def pack_leaves_out(weights, owner, keep_fraction, task):
    new, owners = pack(weights, owner, keep_fraction, task)
    return {n: new[n] for n in owner}, owners


@mutant("14.9a", "only names that end in weight")
def pack_by_name(weights, owner, keep_fraction, task):
    new, owners = pack(weights, {n: o for n, o in owner.items() if n.endswith("weight")}, keep_fraction, task)
    return new, {n: owners.get(n, o.clone()) for n, o in owner.items()}


@mutant("14.9a", "every task is number 1")
def pack_task_one(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, 1)


@mutant("14.9a", "earlier tasks' weights become 0")
def pack_forgets(weights, owner, keep_fraction, task):
    new, owners = pack(weights, owner, keep_fraction, task)
    return {n: torch.where(owners[n] == task, w, 0) if n in owners else w for n, w in new.items()}, owners


@mutant("14.9a", "a fraction of 0 is taken for 1")
def pack_falsy(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction or 1.0, task)


@mutant("14.9a", "owners in int32")
def pack_int32(weights, owner, keep_fraction, task):
    new, owners = pack(weights, owner, keep_fraction, task)
    return new, {n: o.int() for n, o in owners.items()}


@mutant("14.9a", "tensors without owners are the caller's own")
def pack_shares(weights, owner, keep_fraction, task):
    new, owners = pack(weights, owner, keep_fraction, task)
    return {n: new[n] if n in owner else w for n, w in weights.items()}, owners


@mutant("14.9a", "in place")
def pack_in_place(weights, owner, keep_fraction, task):
    new, owners = pack(weights, owner, keep_fraction, task)
    for name in owner:
        weights[name].copy_(new[name])
        owner[name].copy_(owners[name])
    return weights, owner


@right("14.9a")
def pack_parts(weights, owner, keep_fraction, task):
    return pack(weights, owner, keep_fraction, task)


@right("14.9a")
def pack_sorted_list(weights, owner, keep_fraction, task):
    new, owners = {}, {}
    for name, weight in weights.items():
        if name not in owner:
            new[name] = weight.clone()
            continue
        values, numbers = weight.flatten().tolist(), owner[name].flatten().tolist()
        free = [i for i, number in enumerate(numbers) if number == 0]
        best = sorted(free, key=lambda i: -abs(values[i]))[: round(keep_fraction * len(free))]
        for i in free:
            numbers[i], values[i] = (task, values[i]) if i in set(best) else (0, 0.0)
        new[name] = torch.tensor(values, dtype=weight.dtype).view(weight.shape)
        owners[name] = torch.tensor(numbers, dtype=torch.int64).view(weight.shape)
    return new, owners


@right("14.9a")
def pack_masks(weights, owner, keep_fraction, task):
    new, owners = {n: w + 0 for n, w in weights.items()}, {}
    for name, number in owner.items():
        free, size = number == 0, weights[name].abs().double()
        order = torch.where(free, size, -1.0).flatten().sort(descending=True, stable=True).indices
        mine = torch.zeros(size.numel(), dtype=torch.bool)
        mine[order[: round(keep_fraction * int(free.sum()))]] = True
        mine = mine.view(size.shape)
        owners[name] = torch.where(mine, task, number)
        new[name] = new[name].masked_fill(free & ~mine, 0)
    return new, owners


# --- 14.9b task_view --------------------------------------------------------------------------------------------------


def view(weights, owner, seen):
    return {n: torch.where(seen(owner[n]), w, 0) if n in owner else w.clone() for n, w in weights.items()}


@mutant("14.9b", "the task's own weights only")
def view_own(weights, owner, task):
    return view(weights, owner, lambda o: o == task)


@mutant("14.9b", "earlier tasks' weights only")
def view_earlier(weights, owner, task):
    return view(weights, owner, lambda o: (o >= 1) & (o < task))


@mutant("14.9b", "later tasks leak")
def view_leaks(weights, owner, task):
    return view(weights, owner, lambda o: o >= 1)


@mutant("14.9b", "free weights are seen")
def view_free(weights, owner, task):
    return view(weights, owner, lambda o: o <= task)


@mutant("14.9b", "own and later ones")
def view_later(weights, owner, task):
    return view(weights, owner, lambda o: o >= task)


@mutant("14.9b", "own and free ones")
def view_own_and_free(weights, owner, task):
    return view(weights, owner, lambda o: (o == task) | (o == 0))


@mutant("14.9b", "own and first ones")
def view_first(weights, owner, task):
    return view(weights, owner, lambda o: (o == task) | (o == 1))


@mutant("14.9b", "a product with a mask")
def view_product(weights, owner, task):
    return {n: w * ((owner[n] >= 1) & (owner[n] <= task)) if n in owner else w.clone() for n, w in weights.items()}


@mutant("14.9b", "NaN cleaned away, infinity made large")
def view_cleaned(weights, owner, task):
    seen = {n: (o >= 1) & (o <= task) for n, o in owner.items()}
    return {n: (w.nan_to_num() * seen[n]) if n in owner else w.nan_to_num() for n, w in weights.items()}


@mutant("14.9b", "tensors without owners are 0")
def view_zeros(weights, owner, task):
    seen = view({n: weights[n] for n in owner}, owner, lambda o: (o >= 1) & (o <= task))
    return {n: seen.get(n, torch.zeros_like(w)) for n, w in weights.items()}


@mutant("14.9b", "tensors without owners left out")
def view_leaves_out(weights, owner, task):
    return view({n: weights[n] for n in owner}, owner, lambda o: (o >= 1) & (o <= task))


@mutant("14.9b", "owners in int8")
def view_int8(weights, owner, task):
    return view(weights, owner, lambda o: (o.to(torch.int8) >= 1) & (o.to(torch.int8) <= task))


@mutant("14.9b", "in float32")
def view_narrow(weights, owner, task):
    return {n: w.float() for n, w in view(weights, owner, lambda o: (o >= 1) & (o <= task)).items()}


@mutant("14.9b", "tensors without owners are the caller's own")
def view_shares(weights, owner, task):
    return {n: v if n in owner else weights[n] for n, v in task_view_of(weights, owner, task).items()}


@mutant("14.9b", "in place")
def view_in_place(weights, owner, task):
    for name, number in owner.items():
        weights[name][(number < 1) | (number > task)] = 0
    return weights


def task_view_of(weights, owner, task):
    return view(weights, owner, lambda o: (o >= 1) & (o <= task))


@right("14.9b")
def view_where(weights, owner, task):
    return task_view_of(weights, owner, task)


@right("14.9b")
def view_filled(weights, owner, task):
    seen = {n: w.clone() for n, w in weights.items()}
    for name, number in owner.items():
        seen[name][(number == 0) | (number > task)] = 0
    return seen


@right("14.9b")
def view_isin(weights, owner, task):
    numbers = torch.arange(1, task + 1)
    return {
        n: w.masked_fill(~torch.isin(owner[n], numbers), 0) if n in owner else torch.empty_like(w).copy_(w)
        for n, w in weights.items()
    }


# --- 14.10 transfer ---------------------------------------------------------------------------------------------------


def transferred(accuracy, final=None, terms=None):
    """`transfer` with one of its parts replaced."""
    table, last = np.array(accuracy), len(accuracy) - 1
    changes = table[last, :last] - table.diagonal()[:last] if terms is None else terms(table, last)
    mean_final = table[last].mean() if final is None else final(table, last)
    return float(mean_final), float(np.mean(changes)) if len(changes) else 0.0


@mutant("14.10", "the other way round: forgetting is positive")
def transfer_forgetting(accuracy):
    return transferred(accuracy, terms=lambda t, n: t.diagonal()[:n] - t[n, :n])


@mutant("14.10", "the last task counts as a change of 0")
def transfer_all(accuracy):
    return transferred(accuracy, terms=lambda t, n: t[n] - t.diagonal())


@mutant("14.10", "the sum of the changes")
def transfer_sum(accuracy):
    return transferred(accuracy, terms=lambda t, n: [(t[n, :n] - t.diagonal()[:n]).sum()] if n else [])


@mutant("14.10", "NaN for one task")
def transfer_nan(accuracy):
    table, last = np.array(accuracy), len(accuracy) - 1
    return float(table[last].mean()), float(
        (table[last, :last] - table.diagonal()[:last]).sum() / last
    ) if last else math.nan


@mutant("14.10", "against the best it ever was")
def transfer_best(accuracy):
    return transferred(accuracy, terms=lambda t, n: t[n, :n] - t[:, :n].max(0))


@mutant("14.10", "against the row before")
def transfer_row_before(accuracy):
    return transferred(accuracy, terms=lambda t, n: t[n, :n] - t[n - 1, :n])


@mutant("14.10", "against the first row")
def transfer_first_row(accuracy):
    return transferred(accuracy, terms=lambda t, n: t[n, :n] - t[0, :n])


@mutant("14.10", "columns for rows")
def transfer_transposed(accuracy):
    return transferred(np.array(accuracy).T)


@mutant("14.10", "the mean of the diagonal as the final accuracy")
def transfer_diagonal(accuracy):
    return transferred(accuracy, final=lambda t, n: t.diagonal().mean())


@mutant("14.10", "the mean of the whole table as the final accuracy")
def transfer_table(accuracy):
    return transferred(accuracy, final=lambda t, n: t.mean())


@mutant("14.10", "the final accuracy of the last task")
def transfer_last(accuracy):
    return transferred(accuracy, final=lambda t, n: t[n, n])


@mutant("14.10", "only losses count")
def transfer_losses(accuracy):
    return transferred(accuracy, terms=lambda t, n: np.minimum(t[n, :n] - t.diagonal()[:n], 0))


@mutant("14.10", "divided by the number of tasks")
def transfer_by_tasks(accuracy):
    return transferred(accuracy, terms=lambda t, n: [*(t[n, :n] - t.diagonal()[:n]), 0.0])


@mutant("14.10", "rounded")
def transfer_rounded(accuracy):
    return tuple(round(x, 3) for x in transferred(accuracy))


@right("14.10")
def transfer_numpy(accuracy):
    return transferred(accuracy)


@right("14.10")
def transfer_torch(accuracy):
    table = torch.tensor(accuracy, dtype=torch.float64)
    changes = (table[-1] - table.diagonal())[:-1]
    return table[-1].mean().item(), changes.mean().item() if len(changes) else 0.0


@right("14.10")
def transfer_loop(accuracy):
    count = len(accuracy)
    total = 0.0
    for j in range(count - 1):
        total += accuracy[count - 1][j] - accuracy[j][j]
    return math.fsum(accuracy[-1]) / count, total / (count - 1) if count > 1 else 0.0


# --- 14.11 spot_stream ------------------------------------------------------------------------------------------------


def stream(pays, joules, income, readings, tolerance, support, merge=text_spotting.merge_readings):
    """Play a policy: pays(frame, battery, paid) names a point or −1; `paid` lists (frame, text, weight)."""
    battery, choices, paid = 0.0, [], []
    for frame, arrived in enumerate(income):
        battery += arrived
        choices.append(pays(frame, battery, paid))
        if choices[-1] >= 0:
            battery -= joules[choices[-1]]
            paid.append((frame, *readings[frame][choices[-1]]))
    return choices, merge([(text, weight) for _, text, weight in paid], tolerance, support)


def best_affordable(joules, values, battery):
    affordable = [p for p in text_spotting.pareto_front(joules, values) if joules[p] <= battery]
    return affordable[-1] if affordable else -1


@mutant("14.11", "greedy: the best point whenever it is affordable")
def stream_greedy(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    def pays(frame, battery, paid):
        return best_affordable(joules, values, battery)

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "always the best point")
def stream_best_only(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    best = max(range(len(values)), key=values.__getitem__)
    return stream(lambda f, b, p: best if joules[best] <= b else -1, joules, income, readings, tolerance, support)


@mutant("14.11", "always the cheapest point")
def stream_cheapest(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    cheap = min(range(len(joules)), key=joules.__getitem__)
    return stream(lambda f, b, p: cheap if joules[cheap] <= b else -1, joules, income, readings, tolerance, support)


@mutant("14.11", "every tenth frame")
def stream_tenth(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    def pays(frame, battery, paid):
        return best_affordable(joules, values, battery) if frame % 10 == 9 else -1

    return stream(pays, joules, income, readings, tolerance, support)


def good_point(joules, values):
    return next(p for p in text_spotting.pareto_front(joules, values) if values[p] >= 0.9 * max(values))


@mutant("14.11", "every seventh frame, at the right point: all income is spent evenly")
def stream_seventh(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    point = good_point(joules, values)

    def pays(frame, battery, paid):
        return point if frame % 7 == 3 and joules[point] <= battery else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "whenever the right point is affordable")
def stream_greedy_good(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    point = good_point(joules, values)
    return stream(lambda f, b, p: point if joules[point] <= b else -1, joules, income, readings, tolerance, support)


@mutant("14.11", "every third frame, at the cheapest point")
def stream_third(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    cheap = min(range(len(joules)), key=joules.__getitem__)

    def pays(frame, battery, paid):
        return cheap if frame % 3 == 1 and joules[cheap] <= battery else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "a fresh scene, at once: in the middle of the dart")
def stream_blurred(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    def pays(frame, battery, paid):
        return best_affordable(joules, values, battery) if change[frame] > 0.3 else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "reads nothing")
def stream_nothing(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    return [-1] * len(income), []


@mutant("14.11", "the sharpest frames of the whole film")
def stream_peeks_sharpness(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    best = set(sorted(range(len(income)), key=lambda t: -sharpness[t])[: len(income) // 5])

    def pays(frame, battery, paid):
        return best_affordable(joules, values, battery) if frame in best else -1

    return stream(pays, joules, income, readings, tolerance, support)


def novel(sharpness, change, values, joules):
    """The reference's policy, with what is left to read, as a function for `stream`."""
    state = {"unread": 1.0, "sharpest": 0.0, "seen": 0}

    def pays(frame, battery, paid):
        for _, _, weight in paid[state["seen"] :]:
            state["unread"] *= max(0.0, 1 - weight)
        state["seen"] = len(paid)
        state["unread"] = min(1.0, state["unread"] + change[frame])
        state["sharpest"] = max(sharpness[frame], 0.97 * state["sharpest"])
        if state["unread"] <= 0.2 or sharpness[frame] < 0.9 * state["sharpest"]:
            return -1
        front = text_spotting.pareto_front(joules, values)
        affordable = [p for p in front if joules[p] <= battery]
        good = [p for p in affordable if values[p] >= 0.9 * max(values)]
        return (good or affordable[-1:] or [-1])[0]

    return pays


@mutant("14.11", "waits for the sharpest frame of the next ten")
def stream_looks_ahead(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)

    def pays(frame, battery, paid):
        choice = policy(frame, battery, paid)
        return choice if sharpness[frame] >= max(sharpness[frame : frame + 4]) else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "normalized by the film's largest sharpness")
def stream_normalized(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    top = max(sharpness)
    policy = novel([s / top for s in sharpness], change, values, joules)

    def pays(frame, battery, paid):
        choice = policy(frame, battery, paid)
        return choice if sharpness[frame] > 0.7 * top else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "a twentieth of the whole income as an allowance for each frame, on credit")
def stream_on_credit(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)
    total, spent, choices, paid = sum(income), 0.0, [], []
    for frame in range(len(income)):
        choice = policy(frame, total - spent, paid)
        choices.append(choice)
        if choice >= 0:
            spent += joules[choice]
            paid.append((frame, *readings[frame][choice]))
    return choices, text_spotting.merge_readings([(t, w) for _, t, w in paid], tolerance, support)


@mutant("14.11", "income arrives after the frame has been paid for: one frame of debt")
def stream_early_income(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    shifted = [*income[1:], 0.0]
    shifted[0] += income[0]
    return stream(novel(sharpness, change, values, joules), joules, shifted, readings, tolerance, support)


@mutant("14.11", "owes as much as one reading")
def stream_overdraft(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)

    def pays(frame, battery, paid):
        return policy(frame, battery + 0.3, paid)

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "income to come decides how thrifty to be")
def stream_future_income(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)

    def pays(frame, battery, paid):
        to_come = sum(income[frame + 1 :])
        return policy(frame, battery if to_come > 1 else 0.5 * battery, paid)

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "reads the frame before deciding to pay for it")
def stream_reads_first(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)

    def pays(frame, battery, paid):
        choice = policy(frame, battery, paid)
        return choice if choice >= 0 and readings[frame][choice][1] > 0.5 else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "the surest point of all is paid for")
def stream_surest(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)

    def pays(frame, battery, paid):
        choice = policy(frame, battery, paid)
        points = [p for p in range(len(joules)) if joules[p] <= battery]
        return max(points, key=lambda p: readings[frame][p][1]) if choice >= 0 else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "pays for the cheapest and takes what the best point reads")
def stream_steals(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    best, cheap = max(range(len(values)), key=values.__getitem__), min(range(len(joules)), key=joules.__getitem__)
    policy = novel(sharpness, change, values, joules)
    choices, _ = stream(
        lambda f, b, p: cheap if policy(f, b, p) >= 0 and joules[cheap] <= b else -1,
        joules, income, readings, tolerance, support,
    )  # fmt: skip
    taken = [readings[f][best] for f, choice in enumerate(choices) if choice >= 0]
    return choices, text_spotting.merge_readings(taken, tolerance, support)


@mutant("14.11", "words of all frames, paid for or not")
def stream_all_words(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    choices, _ = stream(novel(sharpness, change, values, joules), joules, income, readings, tolerance, support)
    best = max(range(len(values)), key=values.__getitem__)
    return choices, text_spotting.merge_readings([row[best] for row in readings], tolerance, support)


def other_merge(name, merge):
    """A mutant that chooses as a right solution does, and merges in another way."""

    @mutant("14.11", name)
    def merging(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
        policy = novel(sharpness, change, values, joules)
        return stream(policy, joules, income, readings, tolerance, support, merge)


MERGE = text_spotting.merge_readings
other_merge("no tolerance: what is not equal is another word", lambda paid, t, s: MERGE(paid, 0.0, s))
other_merge("a tolerance of 0.2 at most", lambda paid, t, s: MERGE(paid, min(t, 0.2), s))
other_merge("half of the support is enough", lambda paid, t, s: MERGE(paid, t, s / 2))
other_merge("any support is enough, unless it is a million", lambda paid, t, s: MERGE(paid, t, s if s > 10 else 0))
other_merge("the surest readings first", lambda paid, t, s: MERGE(sorted(paid, key=lambda r: -r[1]), t, s))
other_merge(
    "what was read stands beside the words, in case it was right",
    lambda paid, t, s: list(dict.fromkeys([*MERGE(paid, t, s), *(text for text, _ in paid if s < 10)])),
)


@mutant("14.11", "the texts as they were read, not merged")
def stream_unmerged(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    def merge(paid, tolerance, support):
        return [text for text, _ in paid]

    return stream(novel(sharpness, change, values, joules), joules, income, readings, tolerance, support, merge)


@mutant("14.11", "tolerance and support of its own")
def stream_own_numbers(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    return stream(novel(sharpness, change, values, joules), joules, income, readings, 0.34, 0.6)


@mutant("14.11", "tolerance and support exchanged")
def stream_exchanged(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    return stream(novel(sharpness, change, values, joules), joules, income, readings, support, tolerance)


@mutant("14.11", "a tolerance of 0 is taken for the default")
def stream_falsy(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)
    return stream(policy, joules, income, readings, tolerance or 0.34, support or 0.6)


@mutant("14.11", "looks at how much of the next frame is new")
def stream_next_change(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, [*change[1:], 0.0], values, joules)
    return stream(policy, joules, income, readings, tolerance, support)


@mutant("14.11", "empty readings left out")
def stream_no_empty(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    choices, _ = text_spotting.spot_stream(sharpness, change, readings, joules, values, income, tolerance, support)
    paid = [readings[t][p] for t, p in enumerate(choices) if p >= 0]
    return choices, text_spotting.merge_readings([each for each in paid if each[0]], tolerance, support)


@mutant("14.11", "words by the alphabet")
def stream_sorted(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)
    choices, words = stream(policy, joules, income, readings, tolerance, support)
    return choices, sorted(words, reverse=True)


@mutant("14.11", "places on the front, not numbers of points")
def stream_places(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    front = text_spotting.pareto_front(joules, values)
    policy = novel(sharpness, change, values, joules)
    choices, words = stream(policy, joules, income, readings, tolerance, support)
    return [front.index(c) if c >= 0 else -1 for c in choices], words


@mutant("14.11", "None where nobody reads")
def stream_none(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)
    choices, words = stream(policy, joules, income, readings, tolerance, support)
    return [None if c < 0 else c for c in choices], words


@mutant("14.11", "an absolute threshold for sharpness")
def stream_absolute(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)

    def pays(frame, battery, paid):
        return policy(frame, battery, paid) if sharpness[frame] > 1e4 else -1

    return stream(pays, joules, income, readings, tolerance, support)


@mutant("14.11", "once a film")
def stream_once(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    policy = novel(sharpness, change, values, joules)

    def pays(frame, battery, paid):
        return -1 if paid else policy(frame, battery, paid)

    return stream(pays, joules, income, readings, tolerance, support)


@right("14.11")
def stream_novel(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    return stream(novel(sharpness, change, values, joules), joules, income, readings, tolerance, support)


@right("14.11")
def stream_recent(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    """Another policy: a frame is clear if it is nearly the sharpest of the last fifteen."""
    point = good_point(joules, values)
    doubt, seen = 1.0, 0

    def pays(frame, battery, paid):
        nonlocal doubt, seen
        for _, _, weight in paid[seen:]:
            doubt = max(0.0, doubt - weight)
        seen = len(paid)
        doubt = min(1.0, doubt + change[frame])
        clear = sharpness[frame] >= 0.88 * max(sharpness[max(0, frame - 14) : frame + 1])
        return point if clear and doubt > 0.25 and joules[point] <= battery else -1

    return stream(pays, joules, income, readings, tolerance, support)


@right("14.11")
def stream_rank(sharpness, change, readings, joules, values, income, tolerance=0.34, support=0.6):
    """A third policy: what is new is read once the frame ranks among the sharpest quarter of the last thirty."""
    point = good_point(joules, values)
    fresh, seen = 1.0, 0

    def pays(frame, battery, paid):
        nonlocal fresh, seen
        fresh = min(1.0, fresh + change[frame])
        for _, _, weight in paid[seen:]:
            fresh *= 1 - min(1.0, weight)
        seen = len(paid)
        recent = sorted(sharpness[max(0, frame - 29) : frame + 1])
        clear = sharpness[frame] >= recent[int(0.72 * (len(recent) - 1))]
        return point if clear and fresh > 0.3 and change[frame] < 0.2 and joules[point] <= battery else -1

    return stream(pays, joules, income, readings, tolerance, support)


POLICY = "another policy, which is as good"
EQUIVALENT = {
    "edit_distance: list(range(len(b) + 1)) -> range(len(b) + 1)": "it is only read",
    "text_regions: 0 -> -1": "the region has one tile yet; the others are killed",
    "text_regions: True -> False": "anything but None means: not left; the other is strict",
    "text_regions: column + dx -> column - dx": "all eight neighbours, in another order",
    "text_regions: row + dy -> row - dy": "all eight neighbours, in another order",
    "text_regions: zip(*region, strict=True) -> zip(*region)": "strict only guards against a slip",
    "non_max_suppression: 0 -> -1": "without area −1 is not above overlap, nor is 0/0; of the sides killed",
    "non_max_suppression: union > 0 -> union >= 0": "0/0 is not above overlap either",
    "ctc_decode: path.unique_consecutive().tolist() -> path.unique_consecutive()": "an entry is an index, too",
    "spot_stream: 0.9 * sharpest -> sharpest": POLICY,
    "spot_stream: 1 -> 0": POLICY,
    "spot_stream: 0.0 -> 0.5": "another policy, which doubts even sure readings; a battery that holds that is killed",
    "spot_stream: 0.3 -> 1.1": "another policy, which reads all once; that never reads is killed",
    "spot_stream: 1.0 -> 2.5": POLICY,
    "spot_stream: joules[point] <= battery -> joules[point] < battery": POLICY,
    "spot_stream: sharp >= 0.9 * sharpest -> sharp > 0.9 * sharpest": POLICY,
    "spot_stream: unread > 0.3 -> unread >= 0.3": POLICY,
}
