"""Operations are those of the products on paper, attention's own among them."""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.flops import product_flops


def test_a_linear_layer_takes_two_operations_for_each_weight_and_example():
    layer, x = nn.Linear(30, 20), torch.randn(7, 30)
    assert product_flops(lambda: layer(x)) == 2 * 7 * 30 * 20
    # Backward: one product for the weights; another for the input, if that asks for its gradient
    assert product_flops(lambda: layer(x).sum().backward()) == 2 * 2 * 7 * 30 * 20
    assert product_flops(lambda: layer(x.clone().requires_grad_()).sum().backward()) == 3 * 2 * 7 * 30 * 20


def test_attention_takes_two_products_of_length_squared_and_twice_that_backward():
    heads = [torch.randn(1, 4, 10, 8, requires_grad=True) for _ in range(3)]

    def attend():
        return F.scaled_dot_product_attention(*heads, is_causal=True)

    with torch.no_grad():
        assert product_flops(attend) == 2 * 2 * 4 * 10 * 10 * 8
    assert product_flops(lambda: attend().sum().backward()) == 3 * 2 * 2 * 4 * 10 * 10 * 8
