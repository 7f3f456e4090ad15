"""Mutants and right variants of unit 11."""

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import transfer
from course_utils.models import mlp_forward
from course_utils.saliency import keep_top
from tests.checks.catalogue import mutant, right

EQUIVALENT = {
    "truncated_svd: False -> True": "more vectors, which are cut off again",
    "truncated_svd: torch.linalg.svd(matrix, full_matrices=False) -> torch.linalg.svd(matrix)": "as above",
    "truncated_svd: list(matrix.shape) -> matrix.shape": "the message says torch.Size([3, 5])",
    "rank_for_energy: 0 -> -1": "the only axis is the last one",
    "dsee_adapt: True -> False": "strict=False, with as many gradients as weights",
    "dsee_adapt: zip(starts, torch.autograd.grad(loss, leaves), strict=True) -> "
    "zip(starts, torch.autograd.grad(loss, leaves))": "as above",
}


def refused(matrix, rank):
    if rank < 1 or rank > min(matrix.shape):
        raise ValueError("no such rank")


# --- 11.1a truncated_svd ----------------------------------------------------------------------------------------------


@mutant("11.1a", "v not transposed: [n, rank]")
def svd_columns(matrix, rank):
    u, s, v = transfer.truncated_svd(matrix, rank)
    return u, s, v.T


@mutant("11.1a", "transposed once too often: rows of U's partner")
def svd_transposed(matrix, rank):
    refused(matrix, rank)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank], s[:rank], v.T[:rank]


@mutant("11.1a", "by the Gram matrix: small values drown")
def svd_gram(matrix, rank):
    refused(matrix, rank)
    squares, v = torch.linalg.eigh(matrix.T @ matrix)
    s, v = squares.clamp(min=0).sqrt().flip(0)[:rank], v.flip(1)[:, :rank]
    u, _ = torch.linalg.qr(matrix @ v)
    return u * torch.sign((u * (matrix @ v)).sum(0)), s, v.T


@mutant("11.1a", "the smallest values")
def svd_smallest(matrix, rank):
    refused(matrix, rank)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, -rank:], s[-rank:], v[-rank:]


@mutant("11.1a", "values multiplied into u")
def svd_folded(matrix, rank):
    u, s, v = transfer.truncated_svd(matrix, rank)
    return u * s, s, v


@mutant("11.1a", "values squared")
def svd_squared(matrix, rank):
    u, s, v = transfer.truncated_svd(matrix, rank)
    return u, s**2, v


@mutant("11.1a", "any rank is taken")
def svd_any_rank(matrix, rank):
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank], s[:rank], v[:rank]


@mutant("11.1a", "rank 0 is taken")
def svd_rank_zero(matrix, rank):
    if rank > min(matrix.shape):
        raise ValueError("no such rank")
    return svd_any_rank(matrix, max(rank, 0))


@mutant("11.1a", "the rank is compared with the rows only")
def svd_rank_of_rows(matrix, rank):
    if not 1 <= rank <= matrix.shape[0]:
        raise ValueError("no such rank")
    return svd_any_rank(matrix, rank)


@mutant("11.1a", "in float32")
def svd_single(matrix, rank):
    return tuple(x.to(matrix.dtype) for x in transfer.truncated_svd(matrix.float(), rank))


@mutant("11.1a", "in float64")
def svd_double(matrix, rank):
    return transfer.truncated_svd(matrix.double(), rank)


@mutant("11.1a", "values below a millionth of the first are 0")
def svd_cut(matrix, rank):
    u, s, v = transfer.truncated_svd(matrix, rank)
    return u, torch.where(s < 1e-6 * s[0], 0, s), v


@mutant("11.1a", "a randomized sketch, of the rank alone")
def svd_sketch(matrix, rank):
    refused(matrix, rank)
    torch.manual_seed(0)
    q, _ = torch.linalg.qr(matrix @ torch.randn(matrix.shape[1], rank, dtype=matrix.dtype))
    u, s, v = torch.linalg.svd(q.T @ matrix, full_matrices=False)
    return q @ u, s, v[:rank]


@right("11.1a")
def svd_numpy(matrix, rank):
    refused(matrix, rank)
    u, s, v = np.linalg.svd(matrix.numpy(), full_matrices=False)
    return tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in (u[:, :rank], s[:rank], v[:rank]))


@right("11.1a")
def svd_full(matrix, rank):
    refused(matrix, rank)
    u, s, v = torch.linalg.svd(matrix)
    return [-u[:, :rank], s[:rank], -v[:rank, :]]


@right("11.1a")
def svd_of_transpose(matrix, rank):
    u, s, v = transfer.truncated_svd(matrix.T, rank)
    return v.T, s, u.T


# --- 11.1b rank_for_energy --------------------------------------------------------------------------------------------


def by_loop(singular_values, share, power=2, strict=False):
    squares = sorted((float(s) ** power for s in singular_values), reverse=True)
    total, held = sum(squares), 0.0
    for r, square in enumerate([0.0, *squares]):
        held += square
        if held > share * total if strict else held >= share * total:
            return r
    return len(squares)


@mutant("11.1b", "values not squared")
def energy_plain(singular_values, share):
    return by_loop(singular_values, share, power=1)


@mutant("11.1b", "more than the share")
def energy_strict(singular_values, share):
    return by_loop(singular_values, share, strict=True)


@mutant("11.1b", "not sorted")
def energy_unsorted(singular_values, share):
    held = F.pad((singular_values.double() ** 2).cumsum(0), (1, 0))
    return int((held < share * held[-1]).sum())


@mutant("11.1b", "the smallest first")
def energy_rising(singular_values, share):
    held = F.pad((singular_values.double().sort().values ** 2).cumsum(0), (1, 0))
    return int((held < share * held[-1]).sum())


@mutant("11.1b", "squared in the values' own dtype")
def energy_own_dtype(singular_values, share):
    held = F.pad((singular_values.sort(descending=True).values ** 2).cumsum(0), (1, 0))
    return int((held < share * held[-1]).sum())


@mutant("11.1b", "in float32")
def energy_single(singular_values, share):
    values = singular_values.float().sort(descending=True).values
    values = values / max(float(values[0]), 1e-38)
    held = F.pad((values**2).cumsum(0), (1, 0))
    return int((held < share * held[-1]).sum())


@mutant("11.1b", "one too few: the index of the last")
def energy_index(singular_values, share):
    return max(0, transfer.rank_for_energy(singular_values, share) - 1)


@mutant("11.1b", "nearly the share is enough")
def energy_tolerant(singular_values, share):
    squares = singular_values.double().square().sort(descending=True).values
    return int((squares.cumsum(0) < share * squares.sum() - 1e-9 * squares.sum()).sum()) + bool(share * squares.sum())


@mutant("11.1b", "at least one")
def energy_at_least_one(singular_values, share):
    return max(1, transfer.rank_for_energy(singular_values, share))


@mutant("11.1b", "all of zeros")
def energy_zeros(singular_values, share):
    if not singular_values.any():
        return len(singular_values)
    return transfer.rank_for_energy(singular_values, share)


@mutant("11.1b", "the share of the largest value")
def energy_of_largest(singular_values, share):
    return int((singular_values.double() ** 2 >= share * singular_values.double().max() ** 2).sum())


@mutant("11.1b", "0.9 for a share of 0")
def energy_default(singular_values, share):
    return transfer.rank_for_energy(singular_values, share or 0.9)


@mutant("11.1b", "a tensor for a number")
def energy_tensor(singular_values, share):
    return torch.tensor(transfer.rank_for_energy(singular_values, share))


@right("11.1b")
def energy_loop(singular_values, share):
    return by_loop(singular_values, share)


@right("11.1b")
def energy_numpy(singular_values, share):
    squares = np.sort(singular_values.double().numpy() ** 2)[::-1]
    return (
        int(np.searchsorted(np.cumsum(squares), share * np.sum(squares) * (1 - 1e-15))) + 1 if share * squares[0] else 0
    )


@right("11.1b")
def energy_bool(singular_values, share):
    squares = singular_values.to(torch.float64).square().sort(descending=True)[0]
    return next(r for r in range(len(squares) + 1) if squares[:r].sum() >= share * squares.sum() or r == len(squares))


# --- 11.2a lora_forward, 11.2b lora_merge -----------------------------------------------------------------------------


def forwards(error, compute):
    return (mutant("11.2a", error) if error else right("11.2a"))(compute)


forwards("the weight gets a gradient", lambda x, w, a, b, scale: x @ w.T + scale * (x @ a.T @ b.T))
forwards("the whole result is detached", lambda *arguments: transfer.lora_forward(*arguments).detach())
forwards("the inputs get no gradient through W", lambda x, w, a, b, s: (x @ w.T).detach() + s * (x @ a.T @ b.T))
forwards("scale / r", lambda x, w, a, b, s: transfer.lora_forward(x, w, a, b, s / len(a)))
forwards("the scale forgotten", lambda x, w, a, b, s: transfer.lora_forward(x, w, a, b, 1.0))
forwards("the scale on the sum", lambda x, w, a, b, s: s * transfer.lora_forward(x, w, a, b, 1.0))
forwards("scale 0 taken for 1", lambda x, w, a, b, s: transfer.lora_forward(x, w, a, b, s or 1.0))
forwards("the frozen layer forgotten", lambda x, w, a, b, s: s * (x @ a.T @ b.T))
forwards("subtracted", lambda x, w, a, b, s: transfer.lora_forward(x, w, a, b, -s))
forwards("the weight not transposed", lambda x, w, a, b, s: x @ w.detach() + s * (x @ a.T @ b.T))
forwards("a detached", lambda x, w, a, b, s: transfer.lora_forward(x, w, a.detach(), b, s))
forwards("b detached", lambda x, w, a, b, s: transfer.lora_forward(x, w, a, b.detach(), s))
forwards("merged, in float32", lambda x, w, a, b, s: F.linear(x.float(), (w + s * b @ a).detach().float()).to(x.dtype))
forwards("b·a is made", lambda x, w, a, b, s: F.linear(x, w.detach() + s * (b @ a)))
forwards("b·a is made, beside W", lambda x, w, a, b, s: x @ w.detach().T + x @ (s * b @ a).T)
forwards(
    "b·a is made, in float64",
    lambda x, w, a, b, s: x @ w.detach().T + (s * x.double() @ (b.double() @ a.double()).T).to(x.dtype),
)
forwards("scale squared", lambda x, w, a, b, s: transfer.lora_forward(x, w, s * a, b, s))
forwards(
    "one row of inputs at a time", lambda x, w, a, b, s: torch.stack([transfer.lora_forward(y, w, a, b, s) for y in x])
)
forwards("flattened to a matrix", lambda x, w, a, b, s: transfer.lora_forward(x.reshape(-1, x.shape[-1]), w, a, b, s))
forwards("the scale as a whole number", lambda x, w, a, b, s: transfer.lora_forward(x, w, a, b, int(s)))


@mutant("11.2a", "the update alone has no gradient by the inputs")
def forward_inputs_detached(inputs, weight, a, b, scale):
    return inputs @ weight.detach().T + scale * (inputs.detach() @ a.T @ b.T)


@mutant("11.2a", "requires_grad of the weight switched off")
def forward_switches_off(inputs, weight, a, b, scale):
    weight.requires_grad_(False)
    return inputs @ weight.T + scale * (inputs @ a.T @ b.T)


forwards("", lambda x, w, a, b, s: F.linear(x, w.detach()) + s * F.linear(F.linear(x, a), b))
forwards("", lambda x, w, a, b, s: F.linear(x, w.detach()) + F.linear(x @ a.T, s * b))


@right("11.2a")
def forward_einsum(inputs, weight, a, b, scale):
    low = torch.einsum("...i,ri->...r", inputs, a)
    return torch.einsum("...i,oi->...o", inputs, weight.detach()) + torch.einsum("...r,or->...o", low, b) * scale


def merges(error, compute):
    return (mutant("11.2b", error) if error else right("11.2b"))(compute)


merges("in place", lambda w, a, b, s: w.add_(s * b @ a))
merges("in place, by data", lambda w, a, b, s: setattr(w, "data", w + s * b @ a) or w)
merges("the weight itself where b is 0", lambda w, a, b, s: w + s * b @ a if b.any() and s else w)
merges("the scale forgotten", lambda w, a, b, s: w + b @ a)
merges("scale / r", lambda w, a, b, s: w + s / len(a) * b @ a)
merges("scale 0 taken for 1", lambda w, a, b, s: w + (s or 1.0) * b @ a)
merges("subtracted, as to take it out again", lambda w, a, b, s: w - s * b @ a)
merges("the scale on the sum", lambda w, a, b, s: s * (w + b @ a))
merges("the update alone", lambda w, a, b, s: s * b @ a)
merges("one column of b only", lambda w, a, b, s: w + s * torch.outer(b[:, 0], a[0]))
merges("in float32", lambda w, a, b, s: (w.float() + s * b.float() @ a.float()).to(w.dtype))
merges("in float64", lambda w, a, b, s: w.double() + s * b.double() @ a.double())
merges("the scale squared: in both factors", lambda w, a, b, s: w + (s * b) @ (s * a))
merges("a tiny a is 0", lambda w, a, b, s: w + s * b @ torch.where(a.abs() < 1e-12, 0, a))
merges("", lambda w, a, b, s: torch.addmm(w, b, a, alpha=s))
merges("", lambda w, a, b, s: w + s * torch.einsum("or,ri->oi", b, a))
merges("", lambda w, a, b, s: w + s * sum(torch.outer(b[:, k], a[k]) for k in range(len(a))))


# --- 11.3 sparse_residual ---------------------------------------------------------------------------------------------


def largest_of(residual, nonzeros, stable=True, ties=False, absolute=True):
    flat = residual.flatten()
    sizes = flat.abs() if absolute else flat
    order = sizes.argsort(descending=True, stable=True)
    if not stable:
        order = (sizes.flip(0).argsort(descending=True, stable=True) - len(flat) + 1).abs()
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[order[:nonzeros]] = True
    if ties and nonzeros:
        kept = sizes >= sizes[order[nonzeros - 1]]
    return torch.where(kept, flat, 0).view(residual.shape)


def low_rank(matrix, rank):
    if not rank:
        return matrix.new_zeros(matrix.shape[0], 0), matrix.new_zeros(0, matrix.shape[1])
    u, s, v = transfer.truncated_svd(matrix, rank)
    return u * s, v


def decompose(
    matrix,
    rank,
    nonzeros,
    steps=1,
    low=low_rank,
    choose=largest_of,
    of=lambda m, low, s: m - low,
    low_of=lambda m, s: m - s,
):
    sparse = torch.zeros_like(matrix)
    u, v = low(matrix, rank) if not rank else (None, None)
    for _ in range(steps):
        u, v = low(low_of(matrix, sparse), rank)
        sparse = choose(of(matrix, u @ v, sparse), nonzeros)
    return u, v, sparse


@mutant("11.3", "the largest of the matrix, not of what is left")
def residual_of_matrix(matrix, rank, nonzeros, steps=1):
    return decompose(matrix, rank, nonzeros, steps, of=lambda m, low, s: m)


@mutant("11.3", "places from the matrix, values from what is left")
def residual_places_of_matrix(matrix, rank, nonzeros, steps=1):
    u, v, _ = transfer.sparse_residual(matrix, rank, nonzeros, steps)
    return u, v, torch.where(largest_of(matrix, nonzeros) != 0, matrix - u @ v, 0)


@mutant("11.3", "places from what is left, values from the matrix")
def residual_values_of_matrix(matrix, rank, nonzeros, steps=1):
    u, v, sparse = transfer.sparse_residual(matrix, rank, nonzeros, steps)
    return u, v, torch.where(sparse != 0, matrix, 0)


@mutant("11.3", "u·v refitted to the matrix in every step")
def residual_refits_matrix(matrix, rank, nonzeros, steps=1):
    return decompose(matrix, rank, nonzeros, steps, low_of=lambda m, s: m)


@mutant("11.3", "u·v fitted once more at the end")
def residual_fits_again(matrix, rank, nonzeros, steps=1):
    _, _, sparse = transfer.sparse_residual(matrix, rank, nonzeros, steps)
    return *low_rank(matrix - sparse, rank), sparse


@mutant("11.3", "sparse first, then the low rank")
def residual_sparse_first(matrix, rank, nonzeros, steps=1):
    u, v = low_rank(torch.zeros_like(matrix), rank)
    for _ in range(steps):
        sparse = largest_of(matrix - u @ v, nonzeros)
        u, v = low_rank(matrix - sparse, rank)
    return u, v, sparse


@mutant("11.3", "equals all kept")
def residual_ties(matrix, rank, nonzeros, steps=1):
    return decompose(matrix, rank, nonzeros, steps, choose=lambda r, k: largest_of(r, k, ties=True))


@mutant("11.3", "of equals the last")
def residual_last(matrix, rank, nonzeros, steps=1):
    return decompose(matrix, rank, nonzeros, steps, choose=lambda r, k: largest_of(r, k, stable=False))


@mutant("11.3", "largest by value")
def residual_by_value(matrix, rank, nonzeros, steps=1):
    return decompose(matrix, rank, nonzeros, steps, choose=lambda r, k: largest_of(r, k, absolute=False))


@mutant("11.3", "one step whatever is asked")
def residual_one_step(matrix, rank, nonzeros, steps=1):
    return transfer.sparse_residual(matrix, rank, nonzeros)


@mutant("11.3", "one step too many")
def residual_too_many(matrix, rank, nonzeros, steps=1):
    return transfer.sparse_residual(matrix, rank, nonzeros, steps + 1)


@mutant("11.3", "two steps if none are given")
def residual_two(matrix, rank, nonzeros, steps=2):
    return transfer.sparse_residual(matrix, rank, nonzeros, steps)


@mutant("11.3", "sparse accumulates")
def residual_accumulates(matrix, rank, nonzeros, steps=1):
    sparse = torch.zeros_like(matrix)
    for _ in range(steps):
        u, v = low_rank(matrix - sparse, rank)
        sparse = sparse + largest_of(matrix - sparse - u @ v, nonzeros)
    return u, v, sparse


@mutant("11.3", "singular values forgotten")
def residual_no_values(matrix, rank, nonzeros, steps=1):
    def low(m, r):
        return transfer.truncated_svd(m, r)[::2] if r else low_rank(m, r)

    return decompose(matrix, rank, nonzeros, steps, low=low)


@mutant("11.3", "rank 0 refused")
def residual_refuses_zero(matrix, rank, nonzeros, steps=1):
    transfer.truncated_svd(matrix, rank)
    return transfer.sparse_residual(matrix, rank, nonzeros, steps)


@mutant("11.3", "a negative rank taken for 0")
def residual_negative(matrix, rank, nonzeros, steps=1):
    return transfer.sparse_residual(matrix, max(rank, 0), nonzeros, steps)


@mutant("11.3", "too large a rank cut down")
def residual_cuts_rank(matrix, rank, nonzeros, steps=1):
    return transfer.sparse_residual(matrix, min(rank, *matrix.shape), nonzeros, steps)


@mutant("11.3", "entries below 1e-9 are not entries")
def residual_cut_off(matrix, rank, nonzeros, steps=1):
    u, v, sparse = transfer.sparse_residual(matrix, rank, nonzeros, steps)
    return u, v, torch.where(sparse.abs() < 1e-9, 0, sparse)


@mutant("11.3", "in float64")
def residual_double(matrix, rank, nonzeros, steps=1):
    return transfer.sparse_residual(matrix.double(), rank, nonzeros, steps)


@mutant("11.3", "so many nonzeros of each row")
def residual_rows(matrix, rank, nonzeros, steps=1):
    each = max(1, nonzeros // len(matrix))

    def choose(residual, _):
        kept = residual.abs().argsort(1, descending=True, stable=True)[:, :each]
        return torch.zeros_like(residual).scatter(1, kept, residual.gather(1, kept))

    return decompose(matrix, rank, nonzeros, steps, choose=choose)


@right("11.3")
def residual_helpers(matrix, rank, nonzeros, steps=1):
    if rank > min(matrix.shape):
        raise ValueError("no such rank")
    return decompose(matrix, rank, nonzeros, steps)


@right("11.3")
def residual_numpy(matrix, rank, nonzeros, steps=1):
    if not 0 <= rank <= min(matrix.shape):
        raise ValueError("no such rank")
    m = matrix.numpy()
    sparse = np.zeros_like(m)
    for _ in range(steps):
        u, s, v = np.linalg.svd(m - sparse, full_matrices=False)
        u, v = np.sqrt(s[:rank]) * u[:, :rank], np.sqrt(s[:rank])[:, None] * v[:rank]
        left = (m - u @ v).ravel()
        sparse = np.zeros_like(left)
        kept = np.argsort(-np.abs(left), kind="stable")[:nonzeros]
        sparse[kept] = left[kept]
        sparse = sparse.reshape(m.shape)
    return tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in (u, v, sparse))


@right("11.3")
def residual_scaled_rows(matrix, rank, nonzeros, steps=1):
    u, v, sparse = transfer.sparse_residual(matrix, rank, nonzeros, steps)
    return 2 * u, v / 2, sparse


# --- 11.4 masked_update -----------------------------------------------------------------------------------------------


def updates(error, compute):
    return (mutant("11.4", error) if error else right("11.4"))(compute)


updates("the weight masked, the update not", lambda w, m, d: torch.where(m, w, 0) + d)
updates("the update masked, the weight not", lambda w, m, d: w + torch.where(m, d, 0))
updates("a product keeps NaN", lambda w, m, d: (w + d) * m)
updates("a product keeps −0", lambda w, m, d: torch.nan_to_num((w + d) * m, posinf=3e38, neginf=-3e38))
updates("NaN is 0 everywhere, infinity is not", lambda w, m, d: torch.nan_to_num((w + d) * m, nan=0.0, posinf=None))
updates("NaN is 0 everywhere, without −0", lambda w, m, d: torch.nan_to_num((w + d) * m) + 0.0)
updates("the mask the wrong way round", lambda w, m, d: torch.where(m, 0, w + d))
updates("the weight alone", lambda w, m, d: torch.where(m, w, 0))
updates("the weight outside", lambda w, m, d: torch.where(m, w + d, w))
updates("the update detached", lambda w, m, d: torch.where(m, w + d.detach(), 0))
updates("the weight detached", lambda w, m, d: torch.where(m, w.detach() + d, 0))
updates("in float32", lambda w, m, d: torch.where(m, w.float() + d.float(), 0))
updates("in float64", lambda w, m, d: torch.where(m, w.double() + d.double(), 0))
updates("subtracted", lambda w, m, d: torch.where(m, w - d, 0))
updates("in place", lambda w, m, d: w.data.add_(d).masked_fill_(~m, 0))
updates("the mask where the sum is not 0", lambda w, m, d: torch.where(m & (w != 0), w + d, 0))
updates("", lambda w, m, d: (w + d).masked_fill(~m, 0))
updates("", lambda w, m, d: torch.where(m, w, 0) + torch.where(m, d, 0))
updates("", lambda w, m, d: torch.where(m, w + d, torch.zeros_like(w)))


# --- 11.5 trainable_parameters ----------------------------------------------------------------------------------------


def counts(error, lora=None, dsee=None, adapter=None, full=None, other=None):
    """One formula is another; the arguments of each: out, in, rank, nonzeros."""

    def count(shapes, method, rank=0, nonzeros=0):
        formulas = {
            "full": full or (lambda o, i, r, k: o * i),
            "lora": lora or (lambda o, i, r, k: r * (o + i)),
            "dsee": dsee or (lambda o, i, r, k: r * (o + i) + k),
            "adapter": adapter or (lambda o, i, r, k: 2 * o * r + r + o),
        }
        if method not in formulas:
            if other:
                return other(shapes)
            raise ValueError("no such method")
        return sum(formulas[method](o, i, rank, nonzeros) for o, i in shapes)

    return (mutant("11.5", error) if error else right("11.5"))(count)


counts("one factor only", lora=lambda o, i, r, k: r * o)
counts("both factors as long as the outputs", lora=lambda o, i, r, k: 2 * r * o)
counts("the product of the factors", lora=lambda o, i, r, k: r * o * i)
counts("LoRA with nonzeros", lora=lambda o, i, r, k: r * (o + i) + k)
counts("LoRA never more than full", lora=lambda o, i, r, k: min(r * (o + i), o * i))
counts("DSEE with places counted", dsee=lambda o, i, r, k: r * (o + i) + 2 * k)
counts("DSEE with no more nonzeros than entries", dsee=lambda o, i, r, k: r * (o + i) + min(k, o * i))
counts("DSEE without its nonzeros", dsee=lambda o, i, r, k: r * (o + i))
counts("the adapter without biases", adapter=lambda o, i, r, k: 2 * o * r)
counts("the adapter with one bias", adapter=lambda o, i, r, k: 2 * o * r + r)
counts("the adapter on the inputs", adapter=lambda o, i, r, k: 2 * i * r + r + i)
counts("the adapter from inputs to outputs", adapter=lambda o, i, r, k: (i + o) * r + r + o)
counts("full with biases", full=lambda o, i, r, k: o * i + o)
counts("any other method trains all", other=lambda shapes: sum(o * i for o, i in shapes))
counts("any other method trains nothing", other=lambda shapes: 0)
counts("as a floating-point number", full=lambda o, i, r, k: float(o * i))
counts("in 32 bits", full=lambda o, i, r, k: (o * i + 2**31) % 2**32 - 2**31)


@mutant("11.5", "nonzeros once for all matrices")
def count_nonzeros_once(shapes, method, rank=0, nonzeros=0):
    rest = transfer.trainable_parameters(shapes, method, rank, 0)
    return rest + (nonzeros if method == "dsee" and shapes else 0)


@mutant("11.5", "the first shape for all")
def count_first_shape(shapes, method, rank=0, nonzeros=0):
    return len(shapes) and len(shapes) * transfer.trainable_parameters(shapes[:1], method, rank, nonzeros)


@mutant("11.5", "capitals do not matter")
def count_lower(shapes, method, rank=0, nonzeros=0):
    return transfer.trainable_parameters(shapes, method.lower(), rank, nonzeros)


@mutant("11.5", "spaces do not matter")
def count_strip(shapes, method, rank=0, nonzeros=0):
    return transfer.trainable_parameters(shapes, method.strip(), rank, nonzeros)


@mutant("11.5", "the beginning of the name is enough")
def count_prefix(shapes, method, rank=0, nonzeros=0):
    for name in ("full", "lora", "dsee", "adapter"):
        if method.startswith(name):
            return transfer.trainable_parameters(shapes, name, rank, nonzeros)
    raise ValueError("no such method")


@mutant("11.5", "a rank of 8 where none is given")
def count_default_rank(shapes, method, rank=0, nonzeros=0):
    return transfer.trainable_parameters(shapes, method, rank or 8, nonzeros)


counts("")
counts("", dsee=lambda o, i, r, k: o * r + r * i + k)


@right("11.5")
def count_by_tensors(shapes, method, rank=0, nonzeros=0):
    total = 0
    for out, inputs in shapes:
        if method == "adapter":
            total += rank * out + rank + out * rank + out
        elif method in ("lora", "dsee"):
            total += rank * out + rank * inputs
            total += nonzeros if method == "dsee" else 0
        elif method == "full":
            total += out * inputs
        else:
            raise ValueError(method)
    if not shapes and method not in ("full", "lora", "dsee", "adapter"):
        raise ValueError(method)
    return total


# --- 11.6 dsee_step ---------------------------------------------------------------------------------------------------


@mutant("11.6", "b after the new a")
def step_new_a(a, b, sparse, support, gradient, scale, lr):
    a = a - lr * scale * b.T @ gradient
    return a, b - lr * scale * gradient @ a.T, torch.where(support, sparse - lr * gradient, 0)


@mutant("11.6", "a after the new b")
def step_new_b(a, b, sparse, support, gradient, scale, lr):
    b = b - lr * scale * gradient @ a.T
    return a - lr * scale * b.T @ gradient, b, torch.where(support, sparse - lr * gradient, 0)


@mutant("11.6", "the scale on sparse too")
def step_scale_on_sparse(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, _ = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    return new_a, new_b, torch.where(support, sparse - lr * scale * gradient, 0)


@mutant("11.6", "a large gradient clipped")
def step_clipped(a, b, sparse, support, gradient, scale, lr):
    return transfer.dsee_step(a, b, sparse, support, gradient.clamp(-10, 10), scale, lr)


@mutant("11.6", "the scale forgotten")
def step_no_scale(a, b, sparse, support, gradient, scale, lr):
    return transfer.dsee_step(a, b, sparse, support, gradient, 1.0, lr)


@mutant("11.6", "the scale on sparse alone")
def step_scale_swapped(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, _ = transfer.dsee_step(a, b, sparse, support, gradient, 1.0, lr)
    return new_a, new_b, torch.where(support, sparse - lr * scale * gradient, 0)


@mutant("11.6", "ascent")
def step_up(a, b, sparse, support, gradient, scale, lr):
    return transfer.dsee_step(a, b, sparse, support, gradient, scale, -lr)


@mutant("11.6", "the support on the gradient only: what was outside stays")
def step_gradient_masked(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, _ = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    return new_a, new_b, sparse - lr * torch.where(support, gradient, 0)


@mutant("11.6", "a product with the support keeps NaN")
def step_product(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, _ = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    return new_a, new_b, (sparse - lr * gradient) * support


@mutant("11.6", "NaN is 0 on the support too")
def step_nan_hidden(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, _ = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    return new_a, new_b, torch.nan_to_num(sparse - lr * gradient) * support


@mutant("11.6", "no support")
def step_no_support(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, _ = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    return new_a, new_b, sparse - lr * gradient


@mutant("11.6", "a and b under the support too")
def step_all_masked(a, b, sparse, support, gradient, scale, lr):
    return transfer.dsee_step(a, b, sparse, support, torch.where(support, gradient, 0), scale, lr)


@mutant("11.6", "a and b not masked, but see the gradient outside the support only")
def step_complement(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, _ = transfer.dsee_step(a, b, sparse, support, torch.where(support, 0, gradient), scale, lr)
    return new_a, new_b, torch.where(support, sparse - lr * gradient, 0)


@mutant("11.6", "sparse where it is other than 0, not where it may be")
def step_support_of_values(a, b, sparse, support, gradient, scale, lr):
    return transfer.dsee_step(a, b, sparse, support & (sparse != 0), gradient, scale, lr)


@mutant("11.6", "in place")
def step_in_place(a, b, sparse, support, gradient, scale, lr):
    new_a, new_b, new = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    return a.copy_(new_a), b.copy_(new_b), sparse.copy_(new)


@mutant("11.6", "in float32")
def step_single(a, b, sparse, support, gradient, scale, lr):
    new = transfer.dsee_step(a.float(), b.float(), sparse.float(), support, gradient.float(), scale, lr)
    return tuple(value.to(a.dtype) for value in new)


@mutant("11.6", "the scale squared for b")
def step_squared(a, b, sparse, support, gradient, scale, lr):
    new_a, _, new = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    return new_a, b - lr * scale**2 * gradient @ a.T, new


@right("11.6")
def step_by_autograd(a, b, sparse, support, gradient, scale, lr):
    leaves = [value.detach().clone().requires_grad_() for value in (a, b, sparse)]
    clean = torch.where(support, leaves[2], 0)
    product = scale * (leaves[1] @ leaves[0])
    pushed = (product * gradient).sum() if gradient.isfinite().all() else (product * gradient.nan_to_num()).sum()
    slopes = torch.autograd.grad(pushed + (clean * torch.where(support, gradient, 0)).sum(), leaves)
    new_a, new_b, new = (value.detach() - lr * slope for value, slope in zip(leaves, slopes, strict=True))
    return new_a, new_b, torch.where(support, new, 0)


@right("11.6")
def step_einsum(a, b, sparse, support, gradient, scale, lr):
    return (
        a - lr * scale * torch.einsum("or,oi->ri", b, gradient),
        b - lr * scale * torch.einsum("oi,ri->or", gradient, a),
        (sparse - lr * gradient).masked_fill(~support, 0),
    )


@right("11.6")
def step_by_index(a, b, sparse, support, gradient, scale, lr):
    new = torch.zeros_like(sparse)
    new[support] = sparse[support] - lr * gradient[support]
    return [a - lr * scale * (b.T @ gradient), b - lr * scale * (gradient @ a.T), new]


# --- 11.7 dsee_adapt --------------------------------------------------------------------------------------------------


def adapt(
    state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps,
    masks_of=lambda weights, keep: keep_top({name: w.abs() for name, w in weights.items()}, keep),
    support_of=lambda weight, mask, rank, k: transfer.sparse_residual(weight, rank, k)[2] != 0,
    combine=transfer.masked_update, step=transfer.dsee_step, mask_gradient=True,
    loss=lambda logits, labels: F.cross_entropy(logits, labels), start_b=None,
):  # fmt: skip
    """The reference, with a part that may be another."""
    masks = masks_of({name: state[name] for name in starts}, keep_fraction)
    parts = {}
    for name, a in starts.items():
        weight = state[name]
        b = weight.new_zeros(len(weight), len(a)) if start_b is None else torch.full_like(weight[:, : len(a)], start_b)
        parts[name] = a, b, torch.zeros_like(weight), support_of(weight, masks[name], len(a), nonzeros)

    def adapted():
        new = {name: value.clone() for name, value in state.items()}
        for name, (a, b, sparse, _) in parts.items():
            new[name] = combine(state[name], masks[name], scale * (b @ a) + sparse)
        return new

    for _ in range(steps):
        current = adapted()
        leaves = [current[name].detach().requires_grad_() for name in starts]
        current |= dict(zip(starts, leaves, strict=True))
        slopes = torch.autograd.grad(loss(mlp_forward(current, inputs), labels), leaves)
        for name, gradient in zip(starts, slopes, strict=True):
            a, b, sparse, support = parts[name]
            gradient = torch.where(masks[name], gradient, 0) if mask_gradient else gradient
            parts[name] = *step(a, b, sparse, support, gradient, scale, lr), support
    return adapted()


def adapts(error, **changed):
    def function(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
        return adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps, **changed)

    return (mutant("11.7", error) if error else right("11.7"))(function)


adapts("W masked, ΔW not: the sum is dense", combine=lambda w, m, d: torch.where(m, w, 0) + d)
adapts("nothing masked", combine=lambda w, m, d: w + d)
adapts("the gradient not masked", mask_gradient=False)
adapts(
    "masks of each layer apart",
    masks_of=lambda weights, keep: {name: keep_top({name: w.abs()}, keep)[name] for name, w in weights.items()},
)
adapts("masks of the largest values, sign and all", masks_of=lambda weights, keep: keep_top(weights, keep))
adapts(
    "masks of the smallest weights",
    masks_of=lambda weights, keep: keep_top({name: -w.abs() for name, w in weights.items()}, keep),
)
adapts(
    "support from the pruned weight",
    support_of=lambda w, m, r, k: transfer.sparse_residual(torch.where(m, w, 0), r, k)[2] != 0,
)
adapts("support of the largest weights", support_of=lambda w, m, r, k: transfer.sparse_residual(w, 0, k)[2] != 0)
adapts("support everywhere", support_of=lambda w, m, r, k: torch.ones_like(m))
adapts("no support", support_of=lambda w, m, r, k: torch.zeros_like(m))
adapts("two steps of the decomposition", support_of=lambda w, m, r, k: transfer.sparse_residual(w, r, k, 3)[2] != 0)
adapts("b starts at 0.01", start_b=0.01)
adapts("support of a rank of 2 for all", support_of=lambda w, m, r, k: transfer.sparse_residual(w, 2, k)[2] != 0)
adapts("the sum of the losses", loss=lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum"))
adapts(
    "the squared error", loss=lambda logits, labels: (logits.softmax(1) - F.one_hot(labels, 3)).square().sum(1).mean()
)
adapts("b after the new a", step=step_new_a)
adapts("the scale on sparse too", step=step_scale_on_sparse)
adapts(
    "only b descends",
    step=lambda a, b, s, where, g, scale, lr: (a, *transfer.dsee_step(a, b, s, where, g, scale, lr)[1:]),
)
adapts(
    "only a and b descend",
    step=lambda a, b, s, where, g, scale, lr: (*transfer.dsee_step(a, b, s, where, g, scale, lr)[:2], s),
)


def in_other_ways(error):
    return mutant("11.7", error)


@in_other_ways("of equals the first in the order of the state")
def adapt_state_order(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    starts = {name: starts[name] for name in state if name in starts}
    return transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps)


@in_other_ways("the best of all steps, not the last")
def adapt_best(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    common = starts, inputs, labels, nonzeros, keep_fraction, scale, lr
    found = [transfer.dsee_adapt(state, *common, number) for number in range(steps + 1)]
    return min(found, key=lambda each: float(F.cross_entropy(mlp_forward(each, inputs), labels)))


@in_other_ways("one step too few")
def adapt_too_few(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    return transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, max(0, steps - 1))


@in_other_ways("one step too many")
def adapt_too_many(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    return transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps + 1)


@in_other_ways("frozen tensors are the argument's own")
def adapt_shared(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    new = transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps)
    return state | {name: new[name] for name in starts}


@in_other_ways("changes the state in place")
def adapt_in_place(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    new = transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps)
    state.update(new)
    return new


@in_other_ways("the biases of adapted layers descend too")
def adapt_biases(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    new = transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps)
    leaf = state["0.bias"].clone().requires_grad_()
    slope = torch.autograd.grad(F.cross_entropy(mlp_forward(state | {"0.bias": leaf}, inputs), labels), leaf)[0]
    return new | {"0.bias": state["0.bias"] - lr * slope} if steps else new


@in_other_ways("only the adapted weights come back")
def adapt_only_weights(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    new = transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps)
    return {name: new[name] for name in starts}


@in_other_ways("pruned after training only")
def adapt_late(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    new = transfer.dsee_adapt(state, starts, inputs, labels, nonzeros, 1.0, scale, lr, steps)
    masks = keep_top({name: state[name].abs() for name in starts}, keep_fraction)
    return new | {name: torch.where(mask, new[name], 0) for name, mask in masks.items()}


@in_other_ways("masks from all weights, those that are frozen too")
def adapt_masks_of_all(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    matrices = {name: value for name, value in state.items() if name.endswith("weight")}
    masks = keep_top({name: value.abs() for name, value in matrices.items()}, keep_fraction)
    chosen = {name: masks[name] for name in starts}
    return adapt(
        state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps, masks_of=lambda weights, keep: chosen
    )


@in_other_ways("in float32")
def adapt_single(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    new = transfer.dsee_adapt(
        {name: value.float() for name, value in state.items()}, {name: a.float() for name, a in starts.items()},
        inputs.float(), labels, nonzeros, keep_fraction, scale, lr, steps,
    )  # fmt: skip
    return {name: value.to(state[name].dtype) for name, value in new.items()}


@in_other_ways("plain descent on the sum, without factors")
def adapt_full(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    masks = keep_top({name: state[name].abs() for name in starts}, keep_fraction)
    new = {name: value.clone() for name, value in state.items()}
    for name, mask in masks.items():
        new[name] = torch.where(mask, new[name], 0)
    for _ in range(steps):
        leaves = [new[name].detach().requires_grad_() for name in starts]
        loss = F.cross_entropy(mlp_forward(new | dict(zip(starts, leaves, strict=True)), inputs), labels)
        for name, gradient in zip(starts, torch.autograd.grad(loss, leaves), strict=True):
            new[name] = torch.where(masks[name], new[name] - lr * gradient, 0)
    return new


adapts("")
adapts("", combine=lambda w, m, d: (w + d).masked_fill(~m, 0))


@right("11.7")
def adapt_by_autograd(state, starts, inputs, labels, nonzeros, keep_fraction, scale, lr, steps):
    masks = keep_top({name: state[name].abs() for name in starts}, keep_fraction)
    supports = {name: transfer.sparse_residual(state[name], len(a), nonzeros)[2] != 0 for name, a in starts.items()}
    leaves = {}
    for name, a in starts.items():
        leaves[name] = a.clone(), a.new_zeros(len(state[name]), len(a)), torch.zeros_like(state[name])

    def network():
        new = {name: value.clone() for name, value in state.items()}
        for name, (a, b, sparse) in leaves.items():
            new[name] = transfer.lora_merge(state[name], a, b, scale) + torch.where(supports[name], sparse, 0)
            new[name] = torch.where(masks[name], new[name], 0)
        return new

    for _ in range(steps):
        flat = [value.detach().requires_grad_() for parts in leaves.values() for value in parts]
        leaves = {name: flat[3 * i : 3 * i + 3] for i, name in enumerate(leaves)}
        slopes = torch.autograd.grad(F.cross_entropy(mlp_forward(network(), inputs), labels), flat)
        flat = [value.detach() - lr * slope for value, slope in zip(flat, slopes, strict=True)]
        leaves = {name: flat[3 * i : 3 * i + 3] for i, name in enumerate(leaves)}
    return {name: value.detach() for name, value in network().items()}
