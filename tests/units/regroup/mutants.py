"""Mutants and right variants of unit 08."""

from collections import defaultdict
from itertools import count, pairwise

import numpy as np
import torch

from course_utils import regroup
from tests.checks.catalogue import mutant, right

EQUIVALENT = {"block_matmul: torch.tensor(columns) -> columns": "a list is as good an index"}

# --- 8.1a filter_scores -----------------------------------------------------------------------------------------------


def per_filter(values):
    return values.reshape(len(values), -1)


@mutant("8.1a", "the mask is ignored")
def scores_unmasked(weight, mask):
    return per_filter(weight.abs()).sum(1)


@mutant("8.1a", "multiplied by the mask: NaN stays NaN")
def scores_product(weight, mask):
    return per_filter(weight.abs() * mask).sum(1)


@mutant("8.1a", "signed weights")
def scores_signed(weight, mask):
    return per_filter(weight.masked_fill(~mask, 0)).sum(1)


@mutant("8.1a", "size of the sum")
def scores_abs_of_sum(weight, mask):
    return per_filter(weight.masked_fill(~mask, 0)).sum(1).abs()


@mutant("8.1a", "how many are kept")
def scores_count(weight, mask):
    return per_filter(mask).sum(1).to(weight.dtype)


@mutant("8.1a", "mean over the filter")
def scores_mean(weight, mask):
    return per_filter(weight.abs().masked_fill(~mask, 0)).mean(1)


@mutant("8.1a", "mean over the kept")
def scores_mean_kept(weight, mask):
    kept = per_filter(mask).sum(1).clamp(min=1)
    return (per_filter(weight.abs().masked_fill(~mask, 0)).sum(1) / kept).to(weight.dtype)


@mutant("8.1a", "squares")
def scores_squares(weight, mask):
    return per_filter(weight.masked_fill(~mask, 0) ** 2).sum(1)


@mutant("8.1a", "in float32")
def scores_float32(weight, mask):
    return per_filter(weight.abs().masked_fill(~mask, 0).float()).sum(1)


@mutant("8.1a", "what was pruned")
def scores_pruned(weight, mask):
    return per_filter(weight.abs().masked_fill(mask, 0)).sum(1).nan_to_num()


@mutant("8.1a", "only the axes of a linear layer")
def scores_last_axis(weight, mask):
    return weight.abs().masked_fill(~mask, 0).sum(-1)


@mutant("8.1a", "sums of the channels")
def scores_channels(weight, mask):
    return per_filter(weight.abs().masked_fill(~mask, 0).transpose(0, 1)).sum(1)


@mutant("8.1a", "tiny weights are cut off")
def scores_cut_off(weight, mask):
    return per_filter(weight.abs().masked_fill(~mask | (weight.abs() < 1e-12), 0)).sum(1)


@mutant("8.1a", "nan_to_num: an infinity outside becomes a huge number")
def scores_nan_to_num(weight, mask):
    return per_filter((weight * mask).nan_to_num(nan=0.0).abs()).sum(1) + 0 * per_filter(weight).nan_to_num().sum(1)


@mutant("8.1a", "zeroes the weight in place")
def scores_in_place(weight, mask):
    weight[~mask] = 0
    return per_filter(weight.abs()).sum(1)


@mutant("8.1a", "a kept NaN counts for nothing")
def scores_nansum(weight, mask):
    return torch.nansum(per_filter(weight.abs().masked_fill(~mask, 0)), dim=1)


@mutant("8.1a", "a kept infinity becomes the largest number")
def scores_clipped(weight, mask):
    sizes = weight.abs().masked_fill(~mask, 0)
    return per_filter(sizes.nan_to_num(nan=torch.nan)).sum(1)


@mutant("8.1a", "bfloat16 added up in float16")
def scores_half(weight, mask):
    sizes = per_filter(weight.abs().masked_fill(~mask, 0))
    return (sizes.half() if weight.dtype is torch.bfloat16 else sizes).sum(1).to(weight.dtype)


@mutant("8.1a", "the last of the running sums: of no weight there is none")
def scores_running(weight, mask):
    return per_filter(weight.abs().masked_fill(~mask, 0)).double().cumsum(1)[:, -1].to(weight.dtype)


@mutant("8.1a", "added up one by one in half precision")
def scores_one_by_one(weight, mask):
    scores = weight.new_zeros(len(weight))
    for column in per_filter(weight.abs().masked_fill(~mask, 0)).unbind(1):
        scores = scores + column
    return scores


@right("8.1a")
def scores_where(weight, mask):
    return torch.where(mask, weight, 0).abs().sum(dim=tuple(range(1, weight.dim())))


@right("8.1a")
def scores_norm(weight, mask):
    return torch.linalg.vector_norm(per_filter(weight.masked_fill(~mask, 0)), ord=1, dim=1)


@right("8.1a")
def scores_loop(weight, mask):
    return torch.stack([row[kept].abs().sum() for row, kept in zip(weight, mask, strict=True)])


# --- 8.1b refill ------------------------------------------------------------------------------------------------------


def filled(mask, chosen):
    new = torch.zeros_like(mask)
    new[chosen] = True
    return new


@mutant("8.1b", "one filter too many")
def refill_one_more(mask, scores, count):
    return filled(mask, torch.sort(scores, descending=True, stable=True).indices[: count + 1])


@mutant("8.1b", "topk takes any of equals")
def refill_topk(mask, scores, count):
    return filled(mask, scores.flip(0).topk(count).indices.neg() + len(scores) - 1)


@mutant("8.1b", "the last of equals")
def refill_last(mask, scores, count):
    order = torch.sort(scores, stable=True).indices.flip(0)
    return filled(mask, order[:count])


@mutant("8.1b", "a threshold takes all equals")
def refill_threshold(mask, scores, count):
    return filled(mask, scores >= torch.sort(scores, descending=True).values[count - 1])


@mutant("8.1b", "what was kept in the others stays")
def refill_rest_kept(mask, scores, count):
    return mask | regroup.refill(mask, scores, count)


@mutant("8.1b", "only what was kept, in the best")
def refill_not_filled(mask, scores, count):
    return mask & regroup.refill(mask, scores, count)


@mutant("8.1b", "the smallest scores")
def refill_smallest(mask, scores, count):
    return regroup.refill(mask, -scores, count)


@mutant("8.1b", "ranked by size of the score")
def refill_abs(mask, scores, count):
    return regroup.refill(mask, scores.abs(), count)


@mutant("8.1b", "filled in place")
def refill_in_place(mask, scores, count):
    mask[:] = regroup.refill(mask, scores, count)
    return mask


@mutant("8.1b", "channels in place of filters")
def refill_channels(mask, scores, count):
    new = torch.zeros_like(mask)
    for index in torch.sort(scores, descending=True, stable=True).indices[:count].tolist():
        new[..., index % new.shape[-1]] = True
    return new


@mutant("8.1b", "ranked in half precision")
def refill_half(mask, scores, count):
    return regroup.refill(mask, scores.half(), count)


@mutant("8.1b", "ranked in float32")
def refill_float(mask, scores, count):
    return regroup.refill(mask, scores.float(), count)


@mutant("8.1b", "a mask of floats")
def refill_floats(mask, scores, count):
    return regroup.refill(mask, scores, count).float()


@mutant("8.1b", "an empty filter is never filled")
def refill_alive(mask, scores, count):
    alive = mask.flatten(1).any(1) if mask.dim() > 1 else mask
    return regroup.refill(mask, torch.where(alive, scores, -torch.inf), count)


@mutant("8.1b", "the paper's formula: the count is taken of what is pruned")
def refill_complement(mask, scores, count):
    return regroup.refill(mask, scores, max(1, len(scores) - count))


@mutant("8.1b", "a filled filter's score is set to minus infinity, where others have it too")
def refill_one_by_one(mask, scores, count):
    left, chosen = scores.tolist(), []
    for _ in range(count):
        chosen.append(left.index(max(left)))
        left[chosen[-1]] = -np.inf
    return filled(mask, chosen)


@mutant("8.1b", "the mask itself if nothing is to be done")
def refill_itself(mask, scores, count):
    new = regroup.refill(mask, scores, count)
    return mask if torch.equal(new, mask) else new


@mutant("8.1b", "a single filter's score loses its axis")
def refill_squeezed(mask, scores, count):
    return filled(mask, torch.sort(scores.squeeze(), descending=True, stable=True).indices[:count])


@mutant("8.1b", "later filters lose 1e-15 of their score")
def refill_nudged(mask, scores, count):
    return regroup.refill(mask, scores.double() - 1e-15 * torch.arange(len(scores)), count)


@mutant("8.1b", "scores rounded to 13 places")
def refill_rounded(mask, scores, count):
    return filled(mask, sorted(range(len(scores)), key=lambda i: (-round(float(scores[i]), 13), i))[:count])


@mutant("8.1b", "an infinite score counts for nothing")
def refill_finite(mask, scores, count):
    return regroup.refill(mask, scores.masked_fill(scores == torch.inf, 0), count)


@mutant("8.1b", "an infinite score is the largest number")
def refill_clipped(mask, scores, count):
    return regroup.refill(mask, scores.nan_to_num(), count)


@right("8.1b")
def refill_argsort(mask, scores, count):
    return filled(mask, torch.argsort(scores, descending=True, stable=True)[:count])


@right("8.1b")
def refill_python(mask, scores, count):
    ranked = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    return filled(mask, ranked[:count])


@right("8.1b")
def refill_rank(mask, scores, count):
    values = scores.double().numpy()
    best = np.zeros(len(values), dtype=bool)
    best[np.argsort(-values, kind="stable")[:count]] = True
    shape = [len(values)] + [1] * (mask.dim() - 1)
    return torch.from_numpy(best).view(shape).expand(mask.shape).clone()


# --- 8.2a mask_hypergraph ---------------------------------------------------------------------------------------------


def hypergraph_of(mask, least=2, alive=None, name=lambda place, row: place):
    """Nets by hand: columns with at least `least` kept rows; a node's name from its place and its row."""
    picture = mask.tolist()
    rows = [row for row, kept in enumerate(picture) if any(kept)] if alive is None else alive
    nets = [
        [name(place, row) for place, row in enumerate(rows) if picture[row][column]] for column in range(mask.shape[1])
    ]
    return rows, [net for net in nets if len(net) >= least]


@mutant("8.2a", "row numbers in place of nodes")
def hypergraph_row_numbers(mask):
    return hypergraph_of(mask, name=lambda place, row: row)


@mutant("8.2a", "nets of one node stay")
def hypergraph_single(mask):
    return hypergraph_of(mask, least=1)


@mutant("8.2a", "empty nets stay")
def hypergraph_empty(mask):
    return hypergraph_of(mask, least=0)


@mutant("8.2a", "at least three")
def hypergraph_three(mask):
    return hypergraph_of(mask, least=3)


@mutant("8.2a", "columns are the nodes")
def hypergraph_columns(mask):
    return hypergraph_of(mask.T)


@mutant("8.2a", "empty rows are nodes too")
def hypergraph_all_rows(mask):
    return hypergraph_of(mask, alive=list(range(len(mask))))


@mutant("8.2a", "equal columns are one net")
def hypergraph_unique(mask):
    rows, nets = hypergraph_of(mask)
    return rows, [list(net) for net in dict.fromkeys(map(tuple, nets))]


@mutant("8.2a", "nets sorted")
def hypergraph_sorted(mask):
    rows, nets = hypergraph_of(mask)
    return rows, sorted(nets)


@mutant("8.2a", "nodes descend")
def hypergraph_descending(mask):
    rows, nets = hypergraph_of(mask)
    return rows, [net[::-1] for net in nets]


@mutant("8.2a", "rows are those in a net only")
def hypergraph_connected(mask):
    shared = mask.sum(0) >= 2
    return hypergraph_of(mask & shared)


@mutant("8.2a", "counted in 8 bits")
def hypergraph_uint8(mask):
    rows = mask.any(1).nonzero().flatten().tolist()
    nets = [torch.arange(len(rows)).to(torch.uint8)[column].tolist() for column in mask[rows].unbind(1)]
    return rows, [net for net in nets if len(net) >= 2]


@mutant("8.2a", "tensors in place of lists")
def hypergraph_tensors(mask):
    rows, nets = hypergraph_of(mask)
    return torch.tensor(rows), nets


@mutant("8.2a", "a single row is a number, not a list")
def hypergraph_squeezed(mask):
    return mask.any(1).nonzero().squeeze().tolist(), hypergraph_of(mask)[1]


@mutant("8.2a", "the kept of a column counted in 8 bits")
def hypergraph_columns_uint8(mask):
    return hypergraph_of(mask[:, mask.sum(0, dtype=torch.uint8) >= 2], alive=hypergraph_of(mask)[0])


@mutant("8.2a", "the kept of a row counted in 8 bits")
def hypergraph_rows_uint8(mask):
    alive = (mask.sum(1, dtype=torch.uint8) > 0).nonzero().flatten().tolist()
    return alive, hypergraph_of(mask)[1]


@mutant("8.2a", "a mask without columns is an error")
def hypergraph_no_columns(mask):
    rows = mask[:, 0].clone()
    for column in mask.unbind(1)[1:]:
        rows |= column
    return rows.nonzero().flatten().tolist(), hypergraph_of(mask)[1]


@mutant("8.2a", "two equal columns at most")
def hypergraph_twice(mask):
    rows, nets = hypergraph_of(mask)
    return rows, [net for place, net in enumerate(nets) if nets[:place].count(net) < 2]


@mutant("8.2a", "nodes in half precision")
def hypergraph_half(mask):
    rows, nets = hypergraph_of(mask)
    return rows, [torch.tensor(net).half().long().tolist() for net in nets]


@right("8.2a")
def hypergraph_by_hand(mask):
    return hypergraph_of(mask)


@right("8.2a")
def hypergraph_nonzero(mask):
    rows = sorted({row for row, _ in mask.nonzero().tolist()})
    node_of = {row: node for node, row in enumerate(rows)}
    members = defaultdict(list)
    for column, row in mask.T.nonzero().tolist():
        members[column].append(node_of[row])
    return rows, [members[column] for column in sorted(members) if len(members[column]) > 1]


@right("8.2a")
def hypergraph_numpy(mask):
    kept = mask.numpy()
    rows = np.flatnonzero(kept.any(axis=1))
    nets = [np.flatnonzero(column).tolist() for column in kept[rows].T]
    return rows.tolist(), [net for net in nets if len(net) > 1]


# --- 8.2b connectivity ------------------------------------------------------------------------------------------------


@mutant("8.2b", "counts cut nets")
def connectivity_cut(nets, groups):
    return sum(len({groups[node] for node in net}) > 1 for net in nets)


@mutant("8.2b", "all groups of a net, not one less")
def connectivity_all(nets, groups):
    return sum(len({groups[node] for node in net}) for net in nets)


@mutant("8.2b", "sum of external degrees: uncut nets 0, others their groups")
def connectivity_soed(nets, groups):
    return sum(g for net in nets if (g := len({groups[node] for node in net})) > 1)


@mutant("8.2b", "neighbours in different groups")
def connectivity_changes(nets, groups):
    return sum(groups[a] != groups[b] for net in nets for a, b in pairwise(net))


@mutant("8.2b", "pairs in different groups")
def connectivity_pairs(nets, groups):
    return sum(groups[a] != groups[b] for net in nets for i, a in enumerate(net) for b in net[:i])


@mutant("8.2b", "nodes for groups")
def connectivity_nodes(nets, groups):
    return sum(len(set(net)) - 1 for net in nets)


@mutant("8.2b", "mean over the nets")
def connectivity_mean(nets, groups):
    return regroup.connectivity(nets, groups) / max(1, len(nets))


@mutant("8.2b", "equal nets count once")
def connectivity_unique(nets, groups):
    return regroup.connectivity(list(set(map(tuple, nets))), groups)


@mutant("8.2b", "largest group minus smallest")
def connectivity_range(nets, groups):
    return sum(max(groups[n] for n in net) - min(groups[n] for n in net) for net in nets)


@mutant("8.2b", "group numbers in 8 bits")
def connectivity_uint8(nets, groups):
    small = [group % 256 for group in groups]
    return regroup.connectivity(nets, [g // 2 for g in small])


@mutant("8.2b", "group numbers start again after 256")
def connectivity_wrapped(nets, groups):
    return regroup.connectivity(nets, [group % 256 for group in groups])


@mutant("8.2b", "groups told apart by their hash: -1 and -2 have the same")
def connectivity_hash(nets, groups):
    return sum(len({hash(groups[node]) for node in net}) - 1 for net in nets)


@mutant("8.2b", "groups told apart by their size")
def connectivity_abs(nets, groups):
    return regroup.connectivity(nets, [abs(group) for group in groups])


@mutant("8.2b", "groups as floats")
def connectivity_as_floats(nets, groups):
    return sum(len({float(groups[node]) for node in net}) - 1 for net in nets)


@mutant("8.2b", "a net that names a node twice is left out")
def connectivity_no_repeats(nets, groups):
    return regroup.connectivity([net for net in nets if len(net) == len(set(net))], groups)


@mutant("8.2b", "group 0 is taken for none")
def connectivity_falsy(nets, groups):
    return sum(max(0, len({groups[node] for node in net if groups[node]}) - 1) for net in nets)


@mutant("8.2b", "the result is a float")
def connectivity_float(nets, groups):
    return float(regroup.connectivity(nets, groups))


@right("8.2b")
def connectivity_unique_groups(nets, groups):
    return sum(np.unique([groups[node] for node in net]).size - 1 for net in nets)


@right("8.2b")
def connectivity_loop(nets, groups):
    total = 0
    for net in nets:
        seen = []
        for node in net:
            if groups[node] not in seen:
                seen.append(groups[node])
        total += len(seen) - 1
    return total


@right("8.2b")
def connectivity_difference(nets, groups):
    return len({(i, groups[node]) for i, net in enumerate(nets) for node in net}) - len(nets)


# --- 8.3 regroup_pass -------------------------------------------------------------------------------------------------


def one_pass(
    mask,
    groups,
    b1,
    t2,
    b2,
    enough=lambda rows, columns, b1, b2: len(rows) >= b1 and len(columns) >= b2,
    select=lambda counts, t2: counts >= t2,
    order=sorted,
    clear=True,
):
    blocks, rest = [], mask.clone()
    for group in groups:
        rows = order(group)
        columns = select(mask[rows].sum(0), t2).nonzero().flatten().tolist()
        if enough(rows, columns, b1, b2):
            blocks.append((rows, columns))
            if clear:
                rest[torch.tensor(rows)[:, None], columns] = False
    return blocks, rest


def pass_with(error, **changed):
    @mutant("8.3", error)
    def wrong_pass(mask, groups, b1, t2, b2):
        return one_pass(mask, groups, b1, t2, b2, **changed)


pass_with("more than b1 rows", enough=lambda r, c, b1, b2: len(r) > b1 and len(c) >= b2)
pass_with("more than b2 columns", enough=lambda r, c, b1, b2: len(r) >= b1 and len(c) > b2)
pass_with("more than t2 kept", select=lambda counts, t2: counts > t2)
pass_with("a large group needs no b1", enough=lambda r, c, b1, b2: (len(r) >= b1 or len(r) > 8) and len(c) >= b2)
pass_with("b1 is ignored", enough=lambda r, c, b1, b2: len(c) >= b2)
pass_with("b2 is ignored", enough=lambda r, c, b1, b2: len(r) >= b1 and len(c) > 0)
pass_with("b1 and b2 are swapped", enough=lambda r, c, b1, b2: len(r) >= b2 and len(c) >= b1)
pass_with("b1 times b2 places are enough", enough=lambda r, c, b1, b2: len(r) * len(c) >= b1 * b2)
pass_with("rows as the group has them", order=list)
pass_with("blocks stay in the rest", clear=False)
pass_with("counted in 8 bits", select=lambda counts, t2: counts.to(torch.uint8) >= t2)
pass_with("t2 is a fraction of the rows", select=lambda counts, t2: counts * 2 >= t2 * counts.max().clamp(min=1))


@mutant("8.3", "b1 counts the rows that keep something")
def pass_alive_rows(mask, groups, b1, t2, b2):
    return one_pass(mask, groups, b1, t2, b2, lambda r, c, b1, b2: int(mask[r].any(1).sum()) >= b1 and len(c) >= b2)


@mutant("8.3", "ends with the first group without a block")
def pass_early(mask, groups, b1, t2, b2):
    found = [bool(one_pass(mask, [group], b1, t2, b2)[0]) for group in groups]
    return one_pass(mask, groups[: [*found, False].index(False)], b1, t2, b2)


@mutant("8.3", "ends with the first group of too few columns")
def pass_early_columns(mask, groups, b1, t2, b2):
    few = [len(group) >= b1 and not one_pass(mask, [group], b1, t2, b2)[0] for group in groups]
    return one_pass(mask, groups[: [*few, True].index(True)], b1, t2, b2)


@mutant("8.3", "a block that is hardly filled is none")
def pass_filled(mask, groups, b1, t2, b2):
    def enough(rows, columns, b1, b2):
        return len(rows) >= b1 and len(columns) >= b2 and mask[rows][:, columns].float().mean() > 0.1

    return one_pass(mask, groups, b1, t2, b2, enough)


@mutant("8.3", "an empty group is an error")
def pass_empty_group(mask, groups, b1, t2, b2):
    return one_pass(mask, sorted(groups, key=min) and groups, b1, t2, b2)


pass_with("counted in half precision", select=lambda counts, t2: counts.half().double() >= t2)


@mutant("8.3", "ten groups at most")
def pass_ten_groups(mask, groups, b1, t2, b2):
    return one_pass(mask, groups[:10], b1, t2, b2)


@mutant("8.3", "a block of all columns is none")
def pass_all_columns(mask, groups, b1, t2, b2):
    return one_pass(mask, groups, b1, t2, b2, lambda r, c, b1, b2: len(r) >= b1 and b2 <= len(c) < mask.shape[1])


@mutant("8.3", "columns that are a block's already are none's later")
def pass_taken_columns(mask, groups, b1, t2, b2):
    taken = []

    def enough(rows, columns, b1, b2):
        new = len(rows) >= b1 and len(columns) >= b2 and columns not in taken
        taken.append(columns)
        return new

    return one_pass(mask, groups, b1, t2, b2, enough)


@mutant("8.3", "a mask without columns is an error")
def pass_no_columns(mask, groups, b1, t2, b2):
    return one_pass(mask, groups if mask.sum(0).max() else [], b1, t2, b2)


@mutant("8.3", "counted over all rows")
def pass_all_rows(mask, groups, b1, t2, b2):
    return one_pass(mask, groups, b1, t2, b2, select=lambda counts, t2: mask.sum(0) >= t2)


@mutant("8.3", "the columns of a group set to False in all rows")
def pass_rest_columns(mask, groups, b1, t2, b2):
    blocks, _ = one_pass(mask, groups, b1, t2, b2)
    rest = mask.clone()
    for _, columns in blocks:
        rest[:, columns] = False
    return blocks, rest


@mutant("8.3", "all of a block's rows set to False")
def pass_rest_rows(mask, groups, b1, t2, b2):
    blocks, _ = one_pass(mask, groups, b1, t2, b2)
    rest = mask.clone()
    for rows, _ in blocks:
        rest[rows] = False
    return blocks, rest


@mutant("8.3", "a copy is set to False: nothing happens to the rest")
def pass_rest_copy(mask, groups, b1, t2, b2):
    blocks, _ = one_pass(mask, groups, b1, t2, b2)
    rest = mask.clone()
    for rows, columns in blocks:
        rest[rows][:, columns] = False
    return blocks, rest


@mutant("8.3", "works in place")
def pass_in_place(mask, groups, b1, t2, b2):
    blocks, rest = one_pass(mask, groups, b1, t2, b2)
    mask[:] = rest
    return blocks, mask


@mutant("8.3", "the mask itself if there is no block")
def pass_same_mask(mask, groups, b1, t2, b2):
    blocks, rest = one_pass(mask, groups, b1, t2, b2)
    return blocks, rest if blocks else mask


@mutant("8.3", "rows that keep nothing in the columns are dropped")
def pass_drops_rows(mask, groups, b1, t2, b2):
    blocks, rest = one_pass(mask, groups, b1, t2, b2)
    return [([r for r in rows if bool(mask[r, columns].any())], columns) for rows, columns in blocks], rest


@mutant("8.3", "rows numbered within the group")
def pass_renumbered(mask, groups, b1, t2, b2):
    blocks, rest = one_pass(mask, groups, b1, t2, b2)
    return [(list(range(len(rows))), columns) for rows, columns in blocks], rest


@mutant("8.3", "blocks in the order of their first rows")
def pass_sorted_blocks(mask, groups, b1, t2, b2):
    blocks, rest = one_pass(mask, groups, b1, t2, b2)
    return sorted(blocks), rest


@mutant("8.3", "the refilled mask in place of the rest")
def pass_refilled(mask, groups, b1, t2, b2):
    blocks, _ = one_pass(mask, groups, b1, t2, b2)
    refilled = mask.clone()
    for rows, columns in blocks:
        refilled[torch.tensor(rows)[:, None], columns] = True
    return blocks, refilled


@mutant("8.3", "rows in no group are dropped from the rest")
def pass_only_groups(mask, groups, b1, t2, b2):
    blocks, rest = one_pass(mask, groups, b1, t2, b2)
    grouped = torch.zeros(len(mask), dtype=torch.bool)
    grouped[[row for group in groups for row in group]] = True
    return blocks, rest & grouped[:, None]


@mutant("8.3", "counts down by the column's number, as the published program does")
def pass_counts_wrong(mask, groups, b1, t2, b2):
    def select(counts, t2):
        return counts.cumsum(0) >= t2 * torch.arange(1, len(counts) + 1)

    return one_pass(mask, groups, b1, t2, b2, select=select)


@right("8.3")
def pass_by_hand(mask, groups, b1, t2, b2):
    return one_pass(mask, groups, b1, t2, b2)


@right("8.3")
def pass_outer(mask, groups, b1, t2, b2):
    blocks, covered = [], torch.zeros_like(mask)
    for group in groups:
        member = torch.zeros(len(mask), dtype=torch.bool)
        member[group] = True
        chosen = (mask & member[:, None]).sum(0) >= t2
        if len(group) >= b1 and int(chosen.sum()) >= b2:
            covered |= member[:, None] & chosen
            blocks.append((sorted(group), [c for c, yes in enumerate(chosen.tolist()) if yes]))
    return blocks, mask & ~covered


@right("8.3")
def pass_python(mask, groups, b1, t2, b2):
    picture = mask.tolist()
    blocks = []
    for group in groups:
        columns = [c for c in range(mask.shape[1]) if sum(picture[row][c] for row in group) >= t2]
        if len(group) >= b1 and len(columns) >= b2:
            blocks.append((sorted(group), columns))
            for row in group:
                for column in columns:
                    picture[row][column] = False
    return blocks, torch.tensor(picture, dtype=torch.bool).reshape(mask.shape)


# --- 8.4 block_matmul -------------------------------------------------------------------------------------------------


def covered_by(blocks, weight):
    covered = torch.zeros(weight.shape, dtype=torch.bool)
    for rows, columns in blocks:
        covered[torch.tensor(rows)[:, None], columns] = True
    return covered


@mutant("8.4", "overlaps count twice")
def product_twice(x, weight, blocks):
    y = x.new_zeros(len(x), len(weight))
    for rows, columns in blocks:
        y = y.index_add(1, torch.tensor(rows), x[:, columns] @ weight[rows][:, columns].T)
    return y


@mutant("8.4", "rows are overwritten")
def product_overwritten(x, weight, blocks):
    y = x.new_zeros(len(x), len(weight))
    for rows, columns in blocks:
        y[:, rows] = x[:, columns] @ weight[rows][:, columns].T
    return y


@mutant("8.4", "a masked dense product reads what is outside")
def product_masked_dense(x, weight, blocks):
    return x @ (weight * covered_by(blocks, weight)).T


@mutant("8.4", "a masked dense product reads unused inputs")
def product_masked_filled(x, weight, blocks):
    return x @ weight.masked_fill(~covered_by(blocks, weight), 0).T


@mutant("8.4", "the whole weight")
def product_whole(x, weight, blocks):
    return x @ weight.T


@mutant("8.4", "cut off from the graph")
def product_detached(x, weight, blocks):
    return regroup.block_matmul(x.detach(), weight, blocks)


@mutant("8.4", "no gradient for the weight")
def product_no_weight_gradient(x, weight, blocks):
    return regroup.block_matmul(x, weight.detach(), blocks)


@mutant("8.4", "the first block only")
def product_first(x, weight, blocks):
    return regroup.block_matmul(x, weight, blocks[:1])


@mutant("8.4", "whole rows of the weight")
def product_rows(x, weight, blocks):
    return regroup.block_matmul(x, weight, [(rows, list(range(weight.shape[1]))) for rows, _ in blocks])


@mutant("8.4", "rows and columns are swapped")
def product_swapped(x, weight, blocks):
    return regroup.block_matmul(x, weight, [(columns, rows) for rows, columns in blocks])


@mutant("8.4", "in float32")
def product_float32(x, weight, blocks):
    return regroup.block_matmul(x.float(), weight.float(), blocks).to(x.dtype)


@mutant("8.4", "float32 comes out")
def product_float32_out(x, weight, blocks):
    return regroup.block_matmul(x.float(), weight.float(), blocks)


@mutant("8.4", "without blocks it returns x @ 0")
def product_nothing(x, weight, blocks):
    return regroup.block_matmul(x, weight, blocks) if blocks else x @ torch.zeros_like(weight).T


@mutant("8.4", "a block that overlaps another is skipped")
def product_skips(x, weight, blocks):
    kept, covered = [], torch.zeros(weight.shape, dtype=torch.bool)
    for rows, columns in blocks:
        places = torch.tensor(rows)[:, None], columns
        if not covered[places].any():
            kept.append((rows, columns))
            covered[places] = True
    return regroup.block_matmul(x, weight, kept)


@mutant("8.4", "what is covered is divided by how often")
def product_mean(x, weight, blocks):
    rows_in = torch.zeros(len(weight))
    for rows, _ in blocks:
        rows_in[rows] += 1
    return (product_twice(x, weight, blocks) / rows_in.clamp(min=1)).to(x.dtype)


@mutant("8.4", "zeroes the weight in place")
def product_in_place(x, weight, blocks):
    with torch.no_grad():
        weight[~covered_by(blocks, weight)] = 0
    return regroup.block_matmul(x, weight, blocks)


@mutant("8.4", "NaN is 0 inside of the blocks too")
def product_no_nan(x, weight, blocks):
    return regroup.block_matmul(x.nan_to_num(), weight.nan_to_num(), blocks)


@mutant("8.4", "a NaN or an infinity among the inputs counts for nothing, where it is read too")
def product_finite_inputs(x, weight, blocks):
    return regroup.block_matmul(torch.where(x.isfinite(), x, 0), weight, blocks)


@mutant("8.4", "inputs without NaN, times a masked weight")
def product_nan_to_num(x, weight, blocks):
    return x.nan_to_num() @ torch.where(covered_by(blocks, weight), weight, 0).T


@mutant("8.4", "without blocks always float32")
def product_default_zeros(x, weight, blocks):
    return regroup.block_matmul(x, weight, blocks) if blocks else torch.zeros(len(x), len(weight))


@mutant("8.4", "bfloat16 multiplied in float16")
def product_half(x, weight, blocks):
    if x.dtype is not torch.bfloat16:
        return regroup.block_matmul(x, weight, blocks)
    return regroup.block_matmul(x.half(), weight.half(), blocks).to(x.dtype)


@mutant("8.4", "outputs in the order of the rows, weights in the block's")
def product_sorted_rows(x, weight, blocks):
    turned = weight.clone()
    for rows, _ in blocks:
        if rows != sorted(rows):
            turned[sorted(rows)] = weight[rows]
    return regroup.block_matmul(x, turned, blocks)


@mutant("8.4", "input by input: of none there is nothing to stack")
def product_stacked(x, weight, blocks):
    return torch.stack([regroup.block_matmul(row[None], weight, blocks)[0] for row in x])


@mutant("8.4", "ten blocks at most")
def product_ten_blocks(x, weight, blocks):
    return regroup.block_matmul(x, weight, blocks[:10])


@mutant("8.4", "what counts no more is multiplied by 0")
def product_times_zero(x, weight, blocks):
    y, open_places = x.new_zeros(len(x), len(weight)), torch.ones_like(weight)
    for rows, columns in blocks:
        at = torch.tensor(rows)[:, None], torch.tensor(columns)
        y = y.index_add(1, torch.tensor(rows), x[:, columns] @ (weight[at] * open_places[at]).T)
        open_places[at] = 0
    return y


@right("8.4")
def product_gathered(x, weight, blocks):
    covered = covered_by(blocks, weight)
    used = covered.any(0).nonzero().flatten()
    return x[:, used] @ torch.where(covered, weight, 0)[:, used].T


@right("8.4")
def product_assembled(x, weight, blocks):
    whole = torch.zeros_like(weight)
    for rows, columns in blocks:
        whole[torch.tensor(rows)[:, None], columns] = weight[torch.tensor(rows)[:, None], columns]
    used = sorted({column for _, columns in blocks for column in columns})
    return x[:, used] @ whole[:, used].T


@right("8.4")
def product_by_rows(x, weight, blocks):
    members = defaultdict(set)
    for rows, columns in blocks:
        for row in rows:
            members[row].update(columns)
    outputs = [
        x[:, sorted(members[row])] @ weight[row, sorted(members[row])] if row in members else x.new_zeros(len(x))
        for row in range(len(weight))
    ]
    return torch.stack(outputs, dim=1)


# --- 8.5 regroup ------------------------------------------------------------------------------------------------------


def union(blocks, mask):
    return covered_by(blocks, mask)


def loop(mask, partitions, b1, t2, b2, step=regroup.regroup_pass, stop=True):
    blocks, rest = [], mask
    for groups in partitions:
        found, rest = step(rest, groups, b1, t2, b2)
        if not found and stop:
            break
        blocks += found
    return blocks, union(blocks, mask)


@mutant("8.5", "one pass")
def regroup_one_pass(mask, partitions, b1, t2, b2):
    return loop(mask, partitions[:1], b1, t2, b2)


@mutant("8.5", "the scattered mask comes back if there is no block")
def regroup_unstructured(mask, partitions, b1, t2, b2):
    blocks, found = loop(mask, partitions, b1, t2, b2)
    return blocks, found if blocks else mask.clone()


@mutant("8.5", "the first mask in every pass")
def regroup_first_mask(mask, partitions, b1, t2, b2):
    return loop(mask, partitions, b1, t2, b2, step=lambda rest, *rest_: regroup.regroup_pass(mask, *rest_))


@mutant("8.5", "goes on after an empty pass")
def regroup_goes_on(mask, partitions, b1, t2, b2):
    return loop(mask, partitions, b1, t2, b2, stop=False)


@mutant("8.5", "the first partition in every pass")
def regroup_first_partition(mask, partitions, b1, t2, b2):
    return loop(mask, [partitions[0]] * len(partitions) if partitions else [], b1, t2, b2)


@mutant("8.5", "holes stay holes")
def regroup_holes(mask, partitions, b1, t2, b2):
    blocks, found = loop(mask, partitions, b1, t2, b2)
    return blocks, found & mask


@mutant("8.5", "the rest is kept")
def regroup_rest_kept(mask, partitions, b1, t2, b2):
    blocks, found = loop(mask, partitions, b1, t2, b2)
    return blocks, found | mask


@mutant("8.5", "the last pass's blocks only")
def regroup_last(mask, partitions, b1, t2, b2):
    blocks, rest = [], mask
    for groups in partitions:
        found, rest = regroup.regroup_pass(rest, groups, b1, t2, b2)
        if not found:
            break
        blocks = found
    return blocks, union(blocks, mask)


@mutant("8.5", "a filled mask is divided in the next pass")
def regroup_filled(mask, partitions, b1, t2, b2):
    def step(rest, *rest_):
        found, _ = regroup.regroup_pass(rest, *rest_)
        return found, rest | union(found, rest)

    return loop(mask, partitions, b1, t2, b2, step=step)


@mutant("8.5", "writes into its mask")
def regroup_in_place(mask, partitions, b1, t2, b2):
    blocks, found = loop(mask, partitions, b1, t2, b2)
    mask[:] = found
    return blocks, mask


@mutant("8.5", "an empty list of partitions is an error")
def regroup_no_partitions(mask, partitions, b1, t2, b2):
    blocks, rest = regroup.regroup_pass(mask, partitions[0], b1, t2, b2)
    more, _ = loop(rest, partitions[1:], b1, t2, b2) if blocks else ([], rest)
    return blocks + more, union(blocks + more, mask)


@mutant("8.5", "the mask of the last pass")
def regroup_last_mask(mask, partitions, b1, t2, b2):
    blocks, rest = [], mask
    for groups in partitions:
        found, rest = regroup.regroup_pass(rest, groups, b1, t2, b2)
        if not found:
            break
        blocks += found
    return blocks, rest.clone()


@mutant("8.5", "blocks sorted over all passes")
def regroup_sorted(mask, partitions, b1, t2, b2):
    blocks, found = loop(mask, partitions[::-1], b1, t2, b2)
    return blocks, found


@mutant("8.5", "each pass's blocks sorted")
def regroup_sorted_passes(mask, partitions, b1, t2, b2):
    def step(*arguments):
        found, rest = regroup.regroup_pass(*arguments)
        return sorted(found), rest

    return loop(mask, partitions, b1, t2, b2, step=step)


@mutant("8.5", "ten passes at most")
def regroup_ten_passes(mask, partitions, b1, t2, b2):
    return loop(mask, partitions[:10], b1, t2, b2)


@mutant("8.5", "what two blocks cover is turned round twice")
def regroup_turned(mask, partitions, b1, t2, b2):
    blocks, found = loop(mask, partitions, b1, t2, b2)[0], torch.zeros_like(mask)
    for rows, columns in blocks:
        found[torch.tensor(rows)[:, None], columns] ^= True
    return blocks, found


@mutant("8.5", "an equal partition is left out")
def regroup_other_partitions(mask, partitions, b1, t2, b2):
    return loop(mask, [p for i, p in enumerate(partitions) if p not in partitions[:i]], b1, t2, b2)


@mutant("8.5", "a partition without groups is left out")
def regroup_some_groups(mask, partitions, b1, t2, b2):
    return loop(mask, [groups for groups in partitions if groups], b1, t2, b2)


@mutant("8.5", "ends as soon as fewer than b1 times b2 weights are left")
def regroup_too_few(mask, partitions, b1, t2, b2):
    blocks, rest = [], mask
    for groups in partitions:
        found, rest = regroup.regroup_pass(rest, groups, b1, t2, b2)
        blocks += found
        if not found or rest.sum() < b1 * b2:
            break
    return blocks, union(blocks, mask)


def regroup_falling(error, thresholds):
    @mutant("8.5", error)
    def changed(mask, partitions, b1, t2, b2):
        number = count()
        return loop(mask, partitions, b1, t2, b2, lambda rest, groups, *now: (
            regroup.regroup_pass(rest, groups, *thresholds(next(number), *now))
        ))  # fmt: skip


regroup_falling("b1 falls from pass to pass", lambda number, b1, t2, b2: (max(1, b1 - number), t2, b2))
regroup_falling("b2 falls from pass to pass", lambda number, b1, t2, b2: (b1, t2, max(1, b2 - number)))


@mutant("8.5", "rows that are all in blocks are not searched again")
def regroup_used_rows(mask, partitions, b1, t2, b2):
    def step(rest, groups, *thresholds):
        used = (rest != mask).any(dim=1).tolist()
        return regroup.regroup_pass(rest, [g for g in groups if not all(used[row] for row in g)], *thresholds)

    return loop(mask, partitions, b1, t2, b2, step=step)


@mutant("8.5", "a pass ends with the first group of too few columns")
def regroup_early_columns(mask, partitions, b1, t2, b2):
    return loop(mask, partitions, b1, t2, b2, step=pass_early_columns)


@mutant("8.5", "a block that is hardly filled is none")
def regroup_well_filled(mask, partitions, b1, t2, b2):
    def step(rest, groups, b1, t2, b2):
        return one_pass(rest, groups, b1, t2, b2, lambda r, c, b1, b2: (
            len(r) >= b1 and len(c) >= b2 and rest[r][:, c].float().mean() > 0.3
        ))  # fmt: skip

    return loop(mask, partitions, b1, t2, b2, step=step)


@right("8.5")
def regroup_loop(mask, partitions, b1, t2, b2):
    return loop(mask, partitions, b1, t2, b2)


@right("8.5")
def regroup_while(mask, partitions, b1, t2, b2):
    blocks, rest, waiting = [], mask.clone(), list(partitions)
    while waiting:
        found, rest = pass_python(rest, waiting.pop(0), b1, t2, b2)
        if not found:
            break
        blocks.extend(found)
    result = torch.zeros(mask.shape, dtype=torch.bool)
    for rows, columns in blocks:
        for row in rows:
            result[row, columns] = True
    return blocks, result


@right("8.5")
def regroup_recursive(mask, partitions, b1, t2, b2):
    if not partitions:
        return [], torch.zeros_like(mask)
    blocks, rest = pass_outer(mask, partitions[0], b1, t2, b2)
    if not blocks:
        return [], torch.zeros_like(mask)
    more, found = regroup_recursive(rest, partitions[1:], b1, t2, b2)
    return blocks + more, found | union(blocks, mask)
