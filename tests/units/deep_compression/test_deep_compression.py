"""Unit 03 against other people's libraries, and its encoders and decoders against random inputs."""

import math
import subprocess
import sys
from collections import Counter

import dahuffman
import kmeans1d
import msgpack
import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2
from sklearn.cluster import KMeans
from torch import nn

from course_utils import deep_compression as dc
from course_utils.deep_compression import arithmetic, bitstring, files
from course_utils.deep_compression.laws import lloyd
from course_utils.models import lenet5, mlp, parameter_count

quick = settings(max_examples=60)


# --- the exercises ----------------------------------------------------------------------------------------------------


def test_masked_steps_train_as_torch_does_and_keep_zeros():
    torch.manual_seed(0)
    model, images, labels = mlp(20, 15, 3), torch.randn(30, 20), torch.randint(0, 3, (30,))
    weight = model[1].weight
    mask = torch.rand_like(weight) < 0.3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    with torch.no_grad():
        weight.masked_fill_(~mask, 0)
    ours, velocity = weight.detach().clone(), torch.zeros_like(weight)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        ours, velocity = dc.masked_sgd_step(ours, weight.grad, velocity, mask, 0.1, 0.9, 1e-3)
        optimizer.step()
        with torch.no_grad():
            weight.masked_fill_(~mask, 0)  # what torch's own users write
        torch.testing.assert_close(ours, weight.detach())
    assert not ours[~mask].any() and not velocity[~mask].any()


@quick
@given(st.lists(st.booleans(), min_size=1, max_size=300), st.integers(1, 8))
def test_relative_index_round_trip(bits, index_bits):
    mask = torch.tensor(bits)
    gaps, fillers = dc.encode_relative_index(mask, index_bits)
    assert torch.equal(dc.decode_relative_index(gaps, fillers, len(bits)), mask)
    assert int((~fillers).sum()) == sum(bits) and ((gaps >= 1) & (gaps <= 2**index_bits)).all()


@quick
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6, unique=True), st.integers(1, 4))
def test_relative_index_bridges_long_gaps(places, index_bits):
    mask = torch.zeros(3001, dtype=torch.bool)
    mask[places] = True
    gaps, fillers = dc.encode_relative_index(mask, index_bits)
    assert torch.equal(dc.decode_relative_index(gaps, fillers, 3001), mask)
    distances = np.diff(sorted(places), prepend=-1)
    assert len(gaps) == sum(-(-d // 2**index_bits) for d in distances)


def test_kmeans_is_scikit_learns_and_never_better_than_the_optimum():
    rng = np.random.default_rng(0)
    weights = torch.from_numpy(np.concatenate([rng.normal(-0.4, 0.1, 300), rng.normal(0.4, 0.1, 300)]))
    for count in (2, 5, 16):
        start = dc.linear_centroids(weights, count)
        centroids, assignment = dc.kmeans_1d(weights, start, 300)
        theirs = KMeans(count, init=start.numpy()[:, None], n_init=1, max_iter=300, tol=0).fit(weights.numpy()[:, None])
        ours = float(((weights - centroids[assignment]) ** 2).sum())
        assert len(assignment.unique()) == count  # scikit-learn moves empty clusters elsewhere
        np.testing.assert_allclose(centroids, theirs.cluster_centers_[:, 0], rtol=1e-9)
        np.testing.assert_array_equal(assignment, theirs.labels_)
        optimal = kmeans1d.cluster(weights.tolist(), count)
        best = sum((w - optimal.centroids[k]) ** 2 for w, k in zip(weights.tolist(), optimal.clusters, strict=True))
        assert best <= ours * (1 + 1e-9) and ours <= 1.5 * best


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 40])
def test_the_laws_kmeans_is_scipys(steps):
    weights, start = torch.randn(2, 300, dtype=torch.float64)
    start = torch.cat([start[:9], torch.tensor([50.0])])  # of which the last stays without weights
    wanted = start.numpy()[:, None]
    if steps:
        with pytest.warns(UserWarning, match="clusters is empty"):
            wanted, _ = kmeans2(weights.numpy()[:, None], wanted, iter=steps, minit="matrix", missing="warn")
    np.testing.assert_allclose(lloyd(weights, start, steps), wanted[:, 0], rtol=1e-12)


@quick
@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=50), st.integers(1, 20), st.integers(0, 4))
def test_kmeans_on_any_weights(weights, count, steps):
    weights = torch.tensor(weights)
    start = dc.linear_centroids(weights, count)
    centroids, assignment = dc.kmeans_1d(weights, start, steps)
    assert centroids.isfinite().all() and centroids.shape == (count,)
    assert (start.diff() >= 0).all() and start[0] >= weights.min() - 1e-4 and start[-1] <= weights.max() + 1e-4
    distances = (weights[:, None] - centroids).abs()
    assert torch.equal(distances.gather(1, assignment[:, None])[:, 0], distances.min(1).values)


def test_centroid_gradient_is_autograds():
    centroids = torch.randn(8, dtype=torch.float64, requires_grad=True)
    assignment = torch.randint(0, 8, (20, 30))
    weights = centroids[assignment]
    weights.retain_grad()
    (weights.sin() * torch.randn(20, 30, dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(dc.centroid_gradient(weights.grad, assignment, 8), centroids.grad)


symbols = st.lists(st.integers(-3, 12), max_size=200)


@quick
@given(symbols)
def test_huffman_round_trip_and_entropy_bound(text):
    counts = Counter(text)
    code = dc.huffman_code(counts)
    bits = dc.huffman_encode(text, code)
    assert dc.huffman_decode(bits, code, len(text)) == text
    assert dc.huffman_decode(bitstring.from_bytes(bitstring.to_bytes(bits)), code, len(text)) == text
    if len(counts) > 1:
        entropy = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
        assert entropy - 1e-9 <= len(bits) / len(text) < entropy + 1
        assert math.isclose(sum(2.0 ** -len(word) for word in code.values()), 1)  # Kraft, with equality


@quick
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=40))
def test_huffman_is_as_short_as_dahuffmans(frequencies):
    frequencies = dict(enumerate(frequencies))
    end = len(frequencies)  # it compares symbols of equal frequency
    # dahuffman adds an end symbol of frequency 1: give it to our code as well
    theirs = dahuffman.HuffmanCodec.from_frequencies(frequencies, eof=end).get_code_table()
    ours = dc.huffman_code(frequencies | {end: 1})
    both = [
        sum(n * len(ours[s]) for s, n in (frequencies | {end: 1}).items()),
        sum(n * theirs[s][0] for s, n in (frequencies | {end: 1}).items()),
    ]
    assert both[0] == both[1]


@quick
@given(symbols.filter(bool))
def test_canonical_code_has_the_same_lengths_and_can_be_read(text):
    best = dc.huffman_code(Counter(text))
    lengths = [len(best.get(symbol - 3, "")) for symbol in range(16)]
    code = dc.canonical_code(lengths)
    assert [len(code.get(symbol, "")) for symbol in range(16)] == lengths
    shifted = [symbol + 3 for symbol in text]
    assert dc.huffman_decode(dc.huffman_encode(shifted, code), code, len(text)) == shifted


def test_canonical_code_is_that_of_rfc_1951():
    code = dc.canonical_code([3, 3, 3, 3, 3, 2, 4, 4])  # its example, A to H
    assert list(code.items()) == [
        (5, "00"), (0, "010"), (1, "011"), (2, "100"), (3, "101"), (4, "110"), (6, "1110"), (7, "1111"),
    ]  # fmt: skip


def test_huffman_decode_says_what_is_missing():
    with pytest.raises(ValueError, match="end after 1 of 3"):
        dc.huffman_decode("10", {"a": "1", "b": "01"}, 3)


@quick
@given(st.text("01", max_size=100))
def test_bitstrings(bits):
    data = bitstring.to_bytes(bits)
    assert len(data) == -(-len(bits) // 8)
    assert bitstring.from_bytes(data) == bits.ljust(8 * len(data), "0")


# --- compress and decompress ------------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    """A state of a few tensors, and masks for some of them."""
    state, masks = {}, {}
    for i in range(draw(st.integers(0, 3))):
        shape = draw(st.sampled_from([(), (1,), (7,), (3, 5), (2, 3, 2, 2), (1, 60)]))
        seed, values = draw(st.integers(0, 999)), draw(st.sampled_from([1, 2, 5, 1000]))
        rng = np.random.default_rng(seed)
        dtype = draw(st.sampled_from([np.float32, np.float64]))
        state[f"t{i}"] = torch.from_numpy(
            np.asarray(rng.normal(size=values)[rng.integers(0, values, shape)], dtype=dtype)
        )
        if draw(st.booleans()):
            keep = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
            masks[f"t{i}"] = torch.from_numpy(np.asarray(rng.random(shape) < keep))
    return state, masks


@quick
@given(networks(), st.integers(1, 6), st.integers(1, 8))
def test_compressed_bytes_round_trip(network, weight_bits, index_bits):
    state, masks = network
    data = dc.compress(state, masks, weight_bits, index_bits)
    got = dc.decompress(data)
    assert list(got) == list(state)
    for name, value in state.items():
        assert got[name].dtype == value.dtype and got[name].shape == value.shape
        if name not in masks:
            assert torch.equal(got[name], value)
            continue
        assert not got[name][~masks[name]].any()
        kept = got[name][masks[name]]
        assert len(kept.unique()) <= 2**weight_bits
        if len(value[masks[name]].unique()) <= 2**weight_bits:
            assert torch.equal(kept, value[masks[name]])
    # What is shared already comes back exactly, and in the same bytes
    again = dc.compress(got, masks, weight_bits, index_bits)
    assert again == data and all(map(torch.equal, dc.decompress(again).values(), got.values()))


def test_compressed_bytes_are_near_the_closed_form_and_shorter():
    torch.manual_seed(0)
    weight = torch.randn(300, 784)
    mask = weight.abs() > weight.abs().flatten().kthvalue(int(0.92 * weight.numel())).values
    data = dc.compress({"w": weight}, {"w": mask}, 5, 5)
    _, fillers = dc.encode_relative_index(mask, 5)
    fixed = dc.compressed_bits(int(mask.sum()), int(fillers.sum()), 5, 5, 32) / 8
    assert 0.8 * fixed < len(data) < fixed
    # Huffman leaves next to nothing for a general compressor
    entry = msgpack.unpackb(data, strict_map_key=False)["w"]
    assert len(zstandard.compress(entry["gaps"] + entry["weights"], 19)) > 0.97 * len(entry["gaps"] + entry["weights"])


# --- the file ---------------------------------------------------------------------------------------------------------


def sparse_shared(model, keep=0.1, values=16):
    """The model with random zeros, and shared weights."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            book = torch.randn(values, generator=generator)
            parameter.copy_(book[torch.randint(0, values, parameter.shape, generator=generator)])
            if parameter.ndim > 1:
                parameter.masked_fill_(torch.rand(parameter.shape, generator=generator) > keep, 0)
    return model.eval()


MODELS = {
    "mlp": lambda: mlp(30, 20, 10, 4),
    "dropout": lambda: mlp(30, 20, 4, dropout=0.5),
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.AvgPool2d(2),
        nn.Sequential(nn.Conv2d(4, 6, (1, 3), stride=(2, 1), groups=2), nn.MaxPool2d(2, 1, 1)),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3), nn.Sigmoid(), nn.Identity(),
    ),
    "float64": lambda: mlp(8, 6, 2).double(),
    "one layer": lambda: nn.Linear(3, 2),
    "one weight": lambda: nn.Linear(1, 1, bias=False),
    "nothing": lambda: nn.Sequential(),
}  # fmt: skip


@pytest.mark.parametrize("coder", ["fixed", "huffman", "arithmetic"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["sparse", "dense", "zero", "one value"])
def test_file_round_trip(name, coder, kind, tmp_path):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    if kind == "sparse":
        sparse_shared(model)
    elif kind != "dense":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0 if kind == "zero" else -0.75)
    size = dc.save_compressed(model, tmp_path / "net", coder)
    assert size == (tmp_path / "net").stat().st_size
    loaded = dc.load_compressed(tmp_path / "net")
    assert not loaded.training and str(loaded) == str(model)
    state, found = model.state_dict(), loaded.state_dict()
    assert list(state) == list(found)
    for key, value in state.items():
        assert value.dtype == found[key].dtype and torch.equal(value, found[key])
    dc.save_compressed(loaded, tmp_path / "again", coder)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()


def test_the_file_shrinks_from_coder_to_coder(tmp_path):
    model = sparse_shared(lenet5(), keep=0.03)
    sizes = [dc.save_compressed(model, tmp_path / coder, coder) for coder in ("fixed", "huffman", "arithmetic")]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] * 20 < 4 * parameter_count(model)


def test_minus_zero_counts_as_pruned_and_nan_comes_back(tmp_path):
    model = nn.Linear(100, 100, bias=False)
    with torch.no_grad():
        model.weight.copy_(-0.0 * torch.rand(100, 100))
        model.weight[3, 4] = math.nan
    assert dc.save_compressed(model, tmp_path / "net") < 200
    found = dc.load_compressed(tmp_path / "net").weight
    assert found[3, 4].isnan() and int(found.isnan().sum()) == 1 and not found.nan_to_num().any()


def test_another_process_decodes_the_same_network(tmp_path):
    model = sparse_shared(mlp(784, 30, 10))
    images = torch.rand(50, 1, 28, 28)
    for coder in ("huffman", "arithmetic"):
        dc.save_compressed(model, tmp_path / "net", coder)
        torch.save(images, tmp_path / "images")
        code = (
            "import sys, torch; torch.set_num_threads(1); from course_utils.deep_compression import load_compressed;"
            "model = load_compressed(sys.argv[1]); images = torch.load(sys.argv[2]);"
            "torch.save((model.state_dict(), model(images).detach()), sys.argv[3])"
        )
        subprocess.run([sys.executable, "-c", code, *(tmp_path / n for n in ("net", "images", "out"))], check=True)
        state, logits = torch.load(tmp_path / "out")
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert torch.equal(logits, model(images))


def test_a_file_cut_off_anywhere_or_with_any_byte_altered_is_refused(tmp_path):
    path = tmp_path / "net"
    dc.save_compressed(sparse_shared(mlp(6, 5, 3)), path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(dc.CompressedFileError):
            dc.load_compressed(path)
    for place in range(len(content)):
        for flip in (1, 0x80, 0xFF):
            path.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
            with pytest.raises(dc.CompressedFileError):
                dc.load_compressed(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(dc.CompressedFileError, match="cut off or altered"):
        dc.load_compressed(path)


@quick
@given(st.binary(max_size=60), st.booleans())
def test_foreign_content_is_refused_even_with_a_right_checksum(tmp_path_factory, content, dressed):
    import zlib

    if dressed:
        content = files.MAGIC + bytes([files.VERSION]) + content
        content += zlib.crc32(content).to_bytes(4, "little")
    path = tmp_path_factory.getbasetemp() / "foreign"
    path.write_bytes(content)
    with pytest.raises(dc.CompressedFileError):
        dc.load_compressed(path)


def test_messages_name_the_file_and_the_trouble(tmp_path):
    path = tmp_path / "net"
    dc.save_compressed(nn.Linear(3, 2), path)
    content = path.read_bytes()
    for change, words in (
        (b"PK\3\4" + content, "no compressed network"),
        (content.replace(files.MAGIC + b"\1", files.MAGIC + b"\7"), "version 7"),
        (content[:-6], "cut off or altered"),
    ):
        path.write_bytes(change)
        with pytest.raises(dc.CompressedFileError, match=words) as error:
            dc.load_compressed(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        dc.load_compressed(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="LSTM"):
        dc.save_compressed(nn.Sequential(nn.LSTM(3, 4)), path)


# --- arithmetic coding ------------------------------------------------------------------------------------------------


@quick
@given(st.lists(st.tuples(st.integers(1, 2**16 - 1), st.booleans()), max_size=300))
def test_arithmetic_round_trip_at_any_probabilities(pairs):
    encoder = arithmetic.Encoder()
    for probability, bit in pairs:
        encoder.code(probability, int(bit))
    data = encoder.finish()
    decoder = arithmetic.Decoder(data)
    assert [decoder.code(probability) for probability, _ in pairs] == [int(bit) for _, bit in pairs]
    cost = -sum(math.log2(p / 2**16 if bit else 1 - p / 2**16) for p, bit in pairs)
    assert 8 * len(data) <= cost * 1.001 + 33


@quick
@given(st.integers(1, 6), st.integers(1, 40), st.integers(1, 9), st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 99))
def test_arithmetic_tensors(rows, columns, values, keep, seed):
    rng = np.random.default_rng(seed)
    symbols = rng.integers(1, values + 1, (rows, columns)) * (rng.random((rows, columns)) < keep)
    encoder = arithmetic.Encoder()
    arithmetic.code_tensor(encoder, rows, columns, values, symbols)
    found = arithmetic.code_tensor(arithmetic.Decoder(encoder.finish()), rows, columns, values)
    np.testing.assert_array_equal(found, symbols)


def test_arithmetic_coding_goes_below_one_bit():
    rng = np.random.default_rng(0)
    symbols = (rng.random((100, 300)) < 0.02).astype(np.int64)
    encoder = arithmetic.Encoder()
    arithmetic.code_tensor(encoder, 100, 300, 1, symbols)
    p = symbols.mean()
    entropy = -symbols.size * (p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert 8 * len(encoder.finish()) < 1.08 * entropy
