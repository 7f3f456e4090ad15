"""The networks of unit 06: an exit in the trunk, gates before the blocks, layers of several widths."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.dynamic import slim
from course_utils.models import lenet5, mlp, mlp_forward, run_stage

WIDTHS = (0.25, 0.5, 0.75, 1.0)


class BranchyLeNet(nn.Module):
    """LeNet-5 with an exit after its first convolution, a linear layer on what is pooled there.

    Takes images [batch, 1, 28, 28]; gives the logits of both exits, each [batch, 10].
    """

    def __init__(self) -> None:
        super().__init__()
        trunk = lenet5()
        self.first, self.rest = trunk[:2], trunk[2:]
        self.branch = nn.Sequential(nn.Flatten(), nn.Linear(20 * 12 * 12, 10))

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden = self.first(images)
        return [self.branch(hidden), self.rest(hidden)]


class GatedNet(nn.Module):
    """A residual network whose blocks have gates: x + g_l · block_l(x).

    SkipNet's gate looks at its block's input. Here one linear layer looks at the pooled output of the stem and sets all
    gates, so that they are independent given the image, and the mean over all 2^L settings can be computed.
    """

    def __init__(self, blocks: int = 4, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 5, stride=2), nn.ReLU())  # [batch, channels, 12, 12]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.head = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(channels * 36, 10))

    def seen(self, hidden: Tensor) -> Tensor:
        """What the gates look at, [batch, 9 · channels]: the stem's output, pooled."""
        return F.avg_pool2d(hidden, 4).flatten(1)

    def multiplied(self, hidden: Tensor, gates: Tensor) -> Tensor:
        """Logits from the stem's output, every block computed and multiplied with its gate, gates [batch, L]."""
        for block, gate in zip(self.blocks, gates.unbind(dim=1), strict=True):
            hidden = hidden + gate.view(-1, 1, 1, 1) * block(hidden)
        return self.head(hidden)

    def skipped(self, hidden: Tensor, gates: Sequence[bool]) -> Tensor:
        """Logits of a single image, from the stem's output; a closed block is not computed."""
        for block, is_open in zip(self.blocks, gates, strict=True):
            if is_open:
                hidden = hidden + block(hidden)
        return self.head(hidden)

    def forward(self, images: Tensor) -> Tensor:
        """All blocks open; in training each block of each image is left out half of the time (stochastic depth)."""
        shape = len(images), len(self.blocks)
        gates = torch.randint(2, shape).to(images.dtype) if self.training else images.new_ones(shape)
        return self.multiplied(self.stem(images), gates)


class SlimmableNet(nn.Module):
    """Two convolutions and a linear layer that can be run at several widths (Yu 2019), each through `slim`.

    own: a batch normalization of its own for each width, as the paper has it; otherwise all widths share one, of which
    each takes the first channels. Gives the logits [batch, 10] at all its widths, or at one.
    """

    CHANNELS = (16, 32)

    def __init__(self, widths: Sequence[float] = WIDTHS, own: bool = True) -> None:
        super().__init__()
        self.widths, self.own = tuple(widths), own
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 5), nn.Conv2d(16, 32, 5)
        self.head = nn.Linear(32 * 16, 10)
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(max(1, round(width * channels))) for channels in self.CHANNELS)
            for width in (self.widths if own else (1.0,))
        )

    def at(self, width: float, images: Tensor) -> Tensor:
        """Logits at one width."""
        norms = self.norms[self.widths.index(width) if self.own else 0]
        hidden = F.conv2d(images, *slim(self.conv1.weight, self.conv1.bias, 1, width))
        hidden = F.max_pool2d(self.normalized(hidden, norms[0]), 2)
        hidden = F.conv2d(hidden, *slim(self.conv2.weight, self.conv2.bias, width, width))
        hidden = F.max_pool2d(self.normalized(hidden, norms[1]), 2)
        return F.linear(hidden.flatten(1), *slim(self.head.weight, self.head.bias, width, 1, positions=16))

    def normalized(self, hidden: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """Batch normalization by the first channels of `norm`, whose statistics it follows in training; then ReLU."""
        statistics = (
            value[: hidden.shape[1]] for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return F.relu(F.batch_norm(hidden, *statistics, self.training, norm.momentum, norm.eps))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.at(width, images) for width in self.widths]


def staged_lenet() -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """The stages and the heads of a LeNet-5 with three exits, as `early_exit_predict` takes them, untrained.

    Exit 0 is an MLP in front of the trunk, exit 1 a linear layer behind the first convolution, exit 2 the rest of
    LeNet-5. All parameters require a gradient.
    """
    trunk = lenet5()
    stages: list[dict[str, Tensor]] = [{}, dict(trunk[0].named_parameters()), dict(trunk[2].named_parameters())]
    heads = [dict(mlp(*sizes).named_parameters()) for sizes in ((784, 64, 10), (20 * 144, 10), (800, 500, 10))]
    return stages, heads


def logits_of_exits(
    stages: Sequence[dict[str, Tensor]], heads: Sequence[dict[str, Tensor]], inputs: Tensor
) -> list[Tensor]:
    """What every exit says, [batch, classes] each, if nobody leaves."""
    logits = []
    for stage, head in zip(stages, heads, strict=True):
        inputs = run_stage(stage, inputs)
        logits.append(mlp_forward(head, inputs))
    return logits
