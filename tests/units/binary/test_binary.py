"""Packed products against float ones, a folded layer against PyTorch's, a shipped network against its float64 self."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils import binary
from course_utils.binary.reproduce import float64_sums

few = settings(max_examples=40)
lengths = st.integers(1, 300)
seeds = st.integers(0, 2**32 - 1)


def random_signs(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), shape)


@pytest.mark.parametrize("length", range(1, 301))
def test_packed_product_is_the_float_product_for_every_length(length):
    a, b = random_signs(length, 3, length), random_signs(length + 1000, 5, length)
    words = binary.pack_bits(a), binary.pack_bits(b)
    assert words[0].shape == (3, -(-length // 64)) and words[0].dtype == np.uint64
    product = binary.xnor_popcount_matmul(*words, length)
    assert product.dtype == np.int32
    np.testing.assert_array_equal(product, a @ b.T)


@few
@given(length=lengths, rows=st.integers(1, 9), columns=st.integers(1, 9), seed=seeds)
def test_kernel_is_the_packed_product(length, rows, columns, seed):
    a = binary.pack_bits(random_signs(seed, rows, length))
    b = binary.pack_bits(random_signs(seed + 1, columns, length))
    product = binary.packed_matmul(a, b, length)
    assert product.dtype == np.int32
    np.testing.assert_array_equal(product, binary.xnor_popcount_matmul(a, b, length))


def test_kernel_takes_views_and_refuses_what_is_not_packed():
    a, b = binary.pack_bits(random_signs(0, 8, 200)), binary.pack_bits(random_signs(1, 6, 200))
    np.testing.assert_array_equal(
        binary.packed_matmul(a[::2], b[::-1], 200), binary.xnor_popcount_matmul(a[::2], b[::-1], 200)
    )
    assert binary.packed_matmul(a[:0], b, 200).shape == (0, 6)
    with pytest.raises(TypeError, match="use pack_bits"):
        binary.packed_matmul(a.astype(np.int64), b, 200)
    with pytest.raises(ValueError, match="lengths differ"):
        binary.packed_matmul(a[:, :2], b, 200)


def test_kernel_works_without_a_place_for_numbas_cache(tmp_path):
    """As on a read-only disk: none of numba's places can be written."""
    script = (
        "import numba.core.caching as caching\n"
        "def refuse(self): raise OSError(30, 'Read-only file system')\n"
        "caching._CacheLocator.ensure_cache_path = refuse\n"
        "import numpy as np\n"
        "from course_utils.binary import packed_matmul\n"
        "print(packed_matmul(np.array([[13]], np.uint64), np.array([[11]], np.uint64), 4)[0, 0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n" and not done.stderr


def test_import_does_not_load_numba():
    script = "import sys, course_utils.binary; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\n", done.stderr


def signs_by(threshold, direction, sums):
    chosen = torch.where(direction > 0, sums >= threshold, sums <= threshold)
    return torch.where(direction == 0, threshold.expand_as(sums), 2.0 * chosen - 1)


def exact_layer(channels: int, seed: int) -> tuple[nn.BatchNorm1d, torch.Tensor]:
    """A normalization whose arithmetic is exact, with an integer at which each channel is 0."""
    generator = np.random.default_rng(seed)
    norm = nn.BatchNorm1d(channels, eps=0.25).double().eval()
    sigma = torch.from_numpy(generator.choice([0.5, 1.0, 2.0, 4.0], channels))
    crossing = torch.from_numpy(generator.integers(-50, 51, channels)).double()
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(generator.choice([-4.0, -1.0, -0.5, 0.0, 0.25, 2.0], channels)))
        norm.running_mean.copy_(torch.from_numpy(generator.integers(-30, 31, channels)))
        norm.running_var.copy_(sigma**2 - 0.25)
        norm.bias.copy_(norm.weight * (norm.running_mean - crossing) / sigma)
        dead = norm.weight == 0
        norm.bias[dead] = torch.from_numpy(generator.choice([-1.0, 0.0, 1.0], int(dead.sum())))
    return norm, crossing


@few
@given(channels=st.integers(1, 20), seed=seeds)
def test_folded_layer_is_pytorchs_at_ties_and_for_every_gamma(channels, seed):
    norm, crossing = exact_layer(channels, seed)
    threshold, direction = binary.fold_batchnorm_sign(
        norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps
    )
    sums = crossing + torch.arange(-3, 4).double().unsqueeze(1)
    with torch.no_grad():
        wanted = binary.binarize(norm(sums))
    assert torch.equal(signs_by(threshold, direction, sums), wanted)
    alive = norm.weight != 0
    assert torch.equal(threshold[alive], crossing[alive])


def random_network(*sizes: int) -> binary.BinaryMLP:
    """An untrained network with normalizations as training leaves them: negative and zero gammas among them."""
    torch.manual_seed(sum(sizes))
    model = binary.BinaryMLP(*sizes)
    for norm in model.norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.weight.data[::5] = 0
        norm.running_mean.normal_(0, 5)
        norm.running_var.uniform_(1, 60)
    return model.eval()


@pytest.mark.parametrize("sizes", [(784, 10), (784, 64, 10), (784, 70, 33, 10), (784, 5, 100, 65, 7)])
def test_packed_network_has_the_sums_of_its_float64_reference(sizes, tmp_path):
    model = random_network(*sizes)
    images = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    words = binary.pack_bits(binary.pixel_signs(images).numpy())
    reference = float64_sums(model, images)
    layers = binary.packed_layers(model)
    np.testing.assert_array_equal(binary.binary_forward(words, layers), reference)

    size = binary.save_binary(layers, tmp_path / "net")
    assert size == (tmp_path / "net").stat().st_size
    np.testing.assert_array_equal(binary.binary_forward(words, binary.load_binary(tmp_path / "net")), reference)


def test_file_is_read_by_another_process(tmp_path):
    model = random_network(784, 40, 10)
    images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    binary.save_binary(binary.packed_layers(model), tmp_path / "net")
    np.save(tmp_path / "words.npy", binary.pack_bits(binary.pixel_signs(images).numpy()))
    script = (
        f"import numpy as np; from course_utils.binary import *; words = np.load({str(tmp_path / 'words.npy')!r})\n"
        f"print(binary_forward(words, load_binary({str(tmp_path / 'net')!r})).argmax(1).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(float64_sums(model, images).argmax(1).tolist()), done.stderr


def test_network_file_takes_a_bit_for_a_weight(tmp_path):
    size = binary.save_binary(binary.packed_layers(random_network(784, 256, 128, 10)), tmp_path / "net")
    bits = 784 * 256 + 256 * 128 + 128 * 10
    assert bits / 8 < size < bits / 8 + 3 * (256 + 128) + 60  # three bytes a unit, and the frame


def test_gradient_passes_the_sign_where_the_value_is_small():
    real = torch.tensor([-1.5, -1.0, 0.0, 0.7, 2.0], requires_grad=True)
    (binary.Sign.apply(real) * torch.arange(1.0, 6.0)).sum().backward()
    assert real.grad.tolist() == [0, 2, 3, 4, 0]


def test_network_learns_and_its_real_weights_stay_in_the_box():
    torch.manual_seed(0)
    model = binary.BinaryMLP(784, 30, 2)
    images = torch.rand(60, 1, 28, 28)
    labels = (images[:, 0, :14].mean((1, 2)) > images[:, 0, 14:].mean((1, 2))).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.clip()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    assert all(linear.weight.abs().max() <= 1 for linear in model.linears)
