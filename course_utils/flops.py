"""Counting the floating-point operations of what a network multiplies."""

from collections.abc import Callable
from typing import Any

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def product_flops(work: Callable[[], Any]) -> int:
    """Operations of all products that `work` makes, two for each multiplication with its addition, gradients' too.

    Those of attention are counted over whole squares, what a causal mask hides included: torch's counter knows no
    formula for the fused attention of a CPU and would count 0, so attention is done by plain products here.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
