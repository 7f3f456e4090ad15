"""The detector and the recognizer, each at three widths: what they are, what they learn from, and their shipped files.

Both are trained with batch normalization, which is folded into the convolutions before a network is used or stored, so
that what is shipped is convolutions and ReLUs alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from course_utils import drone
from course_utils.training import cosine

STRIDE = 8  # pixels of a frame for each cell of a detector's maps
WIDTHS = {  # channels c
    "detector": {"large": 32, "medium": 16, "small": 8},
    "recognizer": {"large": 24, "medium": 16, "small": 8},
}
SIZES = ("large", "medium", "small")
CROP = (16, 96)  # what a recognizer sees, in pixels
MARGIN = 0.15  # of a box's height, added around it before it is cropped
ALPHABET = drone.LETTERS
FOLDER = Path(__file__).parent
SHA256 = {  # of the shipped files
    "detector-large": "a43b085b2a7a64d5695927c422ffcbe1cc2249ddc177023fbc82ed4176551165",
    "detector-medium": "b8327b5cc05a9e52a074c5a475fd39b39163396a6e89775a365b3f0de3478e42",
    "detector-small": "bd0ca9b48aed6cc50d1bc943e74380cda5bd67503f58559e10f76e43a0fe425f",
    "recognizer-large": "4a30b4b30a38026ff3c7298578e403ad65cd69554d5e063c69a515e784ff9cf0",
    "recognizer-medium": "69c4e64fcdfc6d1758f167077bc0c430db9c0dc9109dc0a2f0323327e6cbbc33",
    "recognizer-small": "09a7c13b5463c562fd7ae9bc81b879721dadf4546e9bec01b37d6f467664ac8a",
}


def conv(inputs: int, outputs: int, size: tuple[int, int], stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """A convolution that keeps the width, and the height too unless it is even; normalization; ReLU."""
    padding = (size[0] // 2 if size[0] % 2 else 0, dilation * (size[1] // 2))
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, (1, dilation), bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


class Detector(nn.Module):
    """Where is text? Frames [n, 192, 320] -> (score logits [n, 24, 40], distances [n, 4, 24, 40] in pixels).

    channels: c. patches: instead of two layers of stride 2, the first of which has the most positions and is the
    dearest to store, one of stride 4 on patches of 7 × 7 pixels.
    """

    def __init__(self, channels: int, patches: bool) -> None:
        super().__init__()
        c = channels
        stem = conv(1, c, (7, 7), stride=4) if patches else conv(1, c // 2, (3, 3), 2) + conv(c // 2, c, (3, 3), 2)
        self.trunk = nn.Sequential(
            *stem,
            *conv(c, c, (3, 3), stride=2),
            *conv(c, c, (3, 5)),
            *conv(c, c, (3, 5), dilation=2),
            *conv(c, c, (3, 5), dilation=2),
        )
        self.head = nn.Conv2d(c, 5, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.head(self.trunk(frames[:, None] - 0.5))
        return maps[:, 0], 4 * STRIDE * F.softplus(maps[:, 1:])


class Recognizer(nn.Module):
    """What does it say? Crops [n, 1, 16, 96] -> logits [n, 48, 27] for CTC, class 0 the blank."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.trunk = nn.Sequential(
            *conv(1, c // 2, (3, 3)),
            nn.MaxPool2d(2),
            *conv(c // 2, c, (3, 3)),
            nn.MaxPool2d((2, 1)),
            *conv(c, 3 * c, (4, 7)),  # all that is left of the height: a letter is known by what is above what
            *conv(3 * c, 2 * c, (1, 3)),
        )
        self.head = nn.Conv2d(2 * c, len(ALPHABET) + 1, 1)

    def forward(self, crops: Tensor) -> Tensor:
        return self.head(self.trunk(crops)).squeeze(2).transpose(1, 2)


def folded(model: nn.Module) -> nn.Module:
    """The model with its batch normalizations folded into the convolutions before them, in evaluation mode."""
    model.eval()
    layers: list[nn.Module] = []
    for layer in model.trunk:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    model.trunk = nn.Sequential(*layers)
    return model.requires_grad_(False)


def detect(detector: Detector, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Of one frame [H, W]: how sure each cell is that text is there, [h, w], and distances [4, h, w] in pixels."""
    score, distances = detector(frame[None])
    return score[0].sigmoid(), distances[0]


def new_network(kind: str, size: str) -> nn.Module:
    """An untrained 'detector' or 'recognizer', 'large', 'medium' or 'small'; only the large detector has no patches."""
    channels = WIDTHS[kind][size]
    return Detector(channels, size != "large") if kind == "detector" else Recognizer(channels)


def load_state(kind: str, size: str, state: dict[str, Tensor]) -> nn.Module:
    """The folded network that has these weights."""
    model = folded(new_network(kind, size))
    model.load_state_dict(state)
    return model


def load(kind: str, size: str) -> nn.Module:
    """A network that comes with the course, folded: seed 0 of `course reproduce text-spotting`."""
    return load_state(kind, size, safetensors.torch.load_file(FOLDER / f"{kind}-{size}.safetensors"))


# --- what they see ----------------------------------------------------------------------------------------------------


def crops(frame: Tensor, boxes: Tensor) -> Tensor:
    """Cut boxes [n, 4] out of a frame [H, W], as [n, 1, 16, 96]: of one height, from the left, with their own shape or
    squeezed if they are too wide; each with mean 0 and standard deviation 1, and zeros where the box has ended."""
    height, width = CROP
    margin = MARGIN * (boxes[:, 3] - boxes[:, 1])
    low, high = boxes[:, :2] - margin[:, None], boxes[:, 2:] + margin[:, None]
    sides = (high - low).clamp(min=1)
    step_y = sides[:, 1] / height
    step_x = torch.maximum(step_y, sides[:, 0] / width)
    x = low[:, :1] + step_x[:, None] * (torch.arange(width) + 0.5)  # [n, 96], in pixels
    y = low[:, 1:] + step_y[:, None] * (torch.arange(height) + 0.5)
    size = torch.tensor([frame.shape[1], frame.shape[0]])
    grid = torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), dim=-1) * 2 / size - 1
    # All crops of a frame under each other are one picture
    cut = F.grid_sample(frame[None, None], grid.reshape(1, -1, width, 2), "bilinear", "border", align_corners=False)
    cut = cut.view(-1, 1, height, width)
    inside = (x < high[:, :1])[:, None, None]
    count = height * inside.sum(dim=(2, 3), keepdim=True)
    mean = (cut * inside).sum(dim=(2, 3), keepdim=True) / count
    deviation = (((cut - mean) * inside).square().sum(dim=(2, 3), keepdim=True) / count).sqrt()
    return (cut - mean) * inside / (deviation + 1e-3)


def jittered(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes [n, 4] as a detector would find them: each side off by a few hundredths of the height, or more."""
    heights = (boxes[:, 3] - boxes[:, 1])[:, None]
    return boxes + 0.1 * heights * torch.randn(boxes.shape, generator=generator)


@dataclass(frozen=True)
class Lessons:
    """What networks learn from: frames [n, 192, 320] as bytes, with the boxes in each; and crops [m, 1, 16, 96] of all
    boxes, jittered, with their words."""

    frames: Tensor
    boxes: list[Tensor]
    crops: Tensor
    words: list[str]


def lessons(seed: int, count: int, fonts: Sequence[str] = drone.DEJAVU, copies: int = 2) -> Lessons:
    """Lessons from so many snapshots; each box is cropped `copies` times."""
    shots = drone.snapshots(seed, count, fonts)
    generator = torch.Generator().manual_seed(seed)
    cut, words = [], []
    for frame, boxes, texts in zip(shots.frames, shots.boxes, shots.words, strict=True):
        for _ in range(copies if len(boxes) else 0):
            cut.append(crops(frame, jittered(boxes, generator)))
            words += texts
    return Lessons((255 * shots.frames).round().byte(), shots.boxes, torch.cat(cut), words)


# --- training ---------------------------------------------------------------------------------------------------------


def box_targets(boxes: Sequence[Tensor], shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """What a detector should say of frames with these boxes: text [n, h, w], 1 in the middle of a box and 0 outside of
    all; which cells count, as the rest of a box is neither; and distances [n, 4, h, w] to the sides, in pixels."""
    rows, columns = torch.meshgrid(*(STRIDE * (torch.arange(size) + 0.5) for size in shape), indexing="ij")
    text, counts = torch.zeros(len(boxes), *shape), torch.ones(len(boxes), *shape)
    distances = torch.ones(len(boxes), 4, *shape)
    for frame, here in enumerate(boxes):
        for left, top, right, bottom in here.tolist():
            sides = torch.stack([columns - left, rows - top, right - columns, bottom - rows])
            counts[frame][sides.amin(dim=0) > 0] = 0
            # The middle half of the width; in height at least the nearest row of cells
            across = (columns - (left + right) / 2).abs() < max((right - left) / 4, STRIDE / 2)
            along = (rows - (top + bottom) / 2).abs() <= max((bottom - top) / 4, STRIDE / 2)
            core = across & along & (sides.amin(dim=0) > 0)
            text[frame][core], counts[frame][core] = 1, 1
            distances[frame][:, core] = sides[:, core]
    return text, counts, distances


def detector_loss(score: Tensor, distances: Tensor, targets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cross-entropy of the cells that count, plus −log IoU of boxes at the cells with text (EAST, section 3.4)."""
    text, counts, sides = targets
    entropy = F.binary_cross_entropy_with_logits(score, text, counts, pos_weight=torch.tensor(3.0), reduction="sum")
    found, wanted = (each.permute(1, 0, 2, 3)[:, text > 0] for each in (distances, sides))
    common = torch.minimum(found, wanted)
    common_area = (common[0] + common[2]) * (common[1] + common[3])
    areas = ((each[0] + each[2]) * (each[1] + each[3]) for each in (found, wanted))
    overlap = -torch.log((common_area + 1) / (sum(areas) - common_area + 1))
    return entropy / counts.sum() * 10 + overlap.mean()


def ctc_loss(logits: Tensor, words: Sequence[str]) -> Tensor:
    """−log of the probability of all paths that read each word, mean over the batch and the letters (Graves 2006)."""
    targets = torch.tensor([ALPHABET.index(letter) + 1 for word in words for letter in word])
    lengths = torch.tensor([len(word) for word in words])
    steps = torch.full((len(words),), logits.shape[1])
    return F.ctc_loss(logits.log_softmax(dim=2).transpose(0, 1), targets, steps, lengths, zero_infinity=True)


def descend(model: nn.Module, loss: Callable[[int], Tensor], steps: int, rate: float) -> None:
    """Adam on a loss that depends on the step's number; the rate rises for a twentieth and falls along a cosine."""
    stepper = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    model.train()
    for step in range(steps):
        for group in stepper.param_groups:
            group["lr"] = rate * min(1, 20 * (step + 1) / steps) * cosine(step / steps)
        stepper.zero_grad()
        loss(step).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        stepper.step()


def train_detector(model: Detector, data: Lessons, steps: int, seed: int, rate: float = 4e-3, batch: int = 8) -> None:
    """In place; batch normalization stays."""
    order = batches(len(data.frames), batch, steps, seed)
    targets = box_targets(data.boxes, [side // STRIDE for side in drone.SIZE])

    def loss(step: int) -> Tensor:
        index = order[step]
        return detector_loss(*model(data.frames[index] / 255), [each[index] for each in targets])

    descend(model, loss, steps, rate)


def train_recognizer(
    model: Recognizer,
    data: Lessons,
    steps: int,
    seed: int,
    rate: float = 1e-2,
    batch: int = 64,
    teacher: Tensor | None = None,
) -> None:
    """In place; batch normalization stays. teacher: logits [m, 48, 27] of another network, to be imitated as well."""
    order = batches(len(data.crops), batch, steps, seed)

    def loss(step: int) -> Tensor:
        index = order[step]
        logits = model(data.crops[index])
        value = ctc_loss(logits, [data.words[i] for i in index.tolist()])
        if teacher is not None:
            # Each step of the path is a classification of its own (unit 01), at temperature 1
            target = teacher[index].softmax(dim=2)
            value = value + F.cross_entropy(logits.transpose(1, 2), target.transpose(1, 2))
        return value

    descend(model, loss, steps, rate)


def batches(count: int, batch: int, steps: int, seed: int) -> Tensor:
    """Indices [steps, batch]: as many passes over the examples as needed, each in a new order."""
    generator = torch.Generator().manual_seed(seed)
    passes = math.ceil(steps * batch / count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])[: steps * batch].view(
        -1, batch
    )
