"""Instructor-only laws of unit 03: harder cases, and comparison with the reference."""

import math
from collections import Counter

import msgpack
import torch
from torch import Tensor

from course_utils import deep_compression as reference
from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Law, law


def one_hot_mask(draw: Draw) -> Tensor:
    return draw.mask(draw.size(5, 40), draw.size(50, 200), keep=draw.choice([0.003, 0.03, 0.3, 0.95]))


@law("ten steps in a row are the reference's, pruned places full of NaN")
def ten_steps(function, draw):
    mask = draw.mask(5, 7)
    state = wanted = (draw.normal(5, 7), torch.zeros(5, 7))
    for _ in range(10):
        gradient = torch.where(mask, draw.normal(5, 7), math.nan)
        state = function(state[0], gradient, state[1], mask, 0.1, 0.9, 1e-3)
        wanted = reference.masked_sgd_step(wanted[0], gradient, wanted[1], mask, 0.1, 0.9, 1e-3)
    expect.close(state, wanted)


@law("whole layers are encoded as by the reference")
def whole_layers(function, draw):
    mask = one_hot_mask(draw)
    for bits in (1, 3, 5, 8):
        expect.equal(function(mask, bits), reference.encode_relative_index(mask, bits))


@law("whole layers are decoded")
def decoded_layers(function, draw):
    mask = one_hot_mask(draw)
    for bits in (1, 3, 5, 8):
        expect.equal(function(*reference.encode_relative_index(mask, bits), mask.numel()), mask.flatten())


@law("the reference's centroids")
def same_centroids(function, draw):
    weights = draw.normal(draw.size(1, 6), 4, 3, dtype=torch.float64)
    for count in (1, 2, 5, 64):
        expect.close(function(weights, count), reference.linear_centroids(weights, count), rtol=1e-12, atol=1e-14)


@law("the reference's clusters, from 64 centroids")
def same_clusters(function, draw):
    weights = draw.normal(draw.size(80, 400), dtype=torch.float64)
    start = reference.linear_centroids(weights, 64)
    for steps in (1, 8):
        expect.close(function(weights, start, steps), reference.kmeans_1d(weights, start, steps), rtol=0, atol=1e-12)


@law("the reference's gradient, with 256 clusters")
def same_gradient(function, draw):
    gradient = draw.normal(draw.size(2, 30), 50, dtype=torch.float64)
    assignment = draw.labels(gradient.numel(), 256).view_as(gradient)
    wanted = reference.centroid_gradient(gradient, assignment, 256)
    expect.close(function(gradient, assignment, 256), wanted, rtol=1e-9, atol=1e-12)


def text(draw: Draw) -> list[int]:
    return [round(abs(draw.normal(1, scale=4).item())) for _ in range(draw.size(1, 400))]


@law("a long text has as many bits as with the reference's code")
def same_length(function, draw):
    counts = Counter(text(draw))
    got, wanted = function(dict(counts)), reference.huffman_code(counts)
    expect.same_kind(got, wanted)
    bits = [sum(counts[symbol] * len(code[symbol]) for symbol in counts) for code in (got, wanted)]
    expect.equal(bits[0], bits[1], "the bits of the text")


@law("long texts are encoded as by the reference")
def encoded_text(function, draw):
    symbols = text(draw)
    code = reference.huffman_code(Counter(symbols))
    expect.equal(function(symbols, code), reference.huffman_encode(symbols, code))


@law("long texts are decoded")
def decoded_text(function, draw):
    symbols = text(draw)
    code = reference.huffman_code(Counter(symbols))
    expect.equal(function(reference.huffman_encode(symbols, code) + "0101", code, len(symbols)), symbols)


@law("the reference's number")
def same_bits(function, draw):
    numbers = (
        [draw.integer(0, 10**6) for _ in range(2)] + [draw.integer(1, 16) for _ in range(2)] + [draw.integer(0, 300)]
    )
    expect.equal(function(*numbers), reference.compressed_bits(*numbers))


def layer(draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    mask = draw.mask(draw.size(3, 20), 60, keep=draw.choice([0.02, 0.1, 0.5]))
    mask[0, 0] = True
    state = {"bias": draw.normal(3), "weight": draw.normal(*mask.shape, dtype=torch.float64)}
    return state, {"weight": mask}


@law("the reference's decompress reads it, to the reference's weights; it is as short as the reference's")
def reference_reads(function, draw):
    state, masks = layer(draw)
    data, wanted = function(state, masks, 3, 4), reference.compress(state, masks, 3, 4)
    expect.close(reference.decompress(data), reference.decompress(wanted), "the state", rtol=0, atol=1e-12)
    expect.true(len(data) <= len(wanted) + 40, "the file is longer than it need be", len(wanted), len(data))


@law("what the reference compresses is read")
def reads_reference(function, draw):
    state, masks = layer(draw)
    for weight_bits, index_bits in ((1, 1), (4, 3), (8, 8)):
        data = reference.compress(state, masks, weight_bits, index_bits)
        expect.equal(function(data), reference.decompress(data))
    name = next(iter(msgpack.unpackb(data, strict_map_key=False)))
    expect.equal(next(iter(function(data))), name, "the first name")


LAWS: dict[str, list[Law]] = {
    "3.1": [ten_steps],
    "3.2a": [whole_layers],
    "3.2b": [decoded_layers],
    "3.3a": [same_centroids],
    "3.3b": [same_clusters],
    "3.4": [same_gradient],
    "3.5": [same_length],
    "3.6a": [encoded_text],
    "3.6b": [decoded_text],
    "3.7": [same_bits],
    "3.8a": [reference_reads],
    "3.8b": [reads_reference],
}
