"""Unit 10 against plain loops, closed forms, numerical gradients and other people's layers."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils import moe
from course_utils.moe.model import (
    VOCABULARY,
    CharTransformer,
    DenseFFN,
    ExpertChoice,
    Hash,
    MoELayer,
    NoisyTopK,
    Reinforce,
    Routing,
    Switch,
    batch_of,
    build_corpus,
    encode,
    ffn_macs,
    measure,
    run_experts,
    train_language_model,
)

routes = st.integers(1, 6).flatmap(
    lambda experts: st.tuples(
        st.just(experts), st.lists(st.integers(0, experts - 1), min_size=1, max_size=20), st.integers(1, 6)
    )
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- buffers ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(routes)
def test_dispatch_and_combine_equal_the_plain_loop(route):
    experts, chosen, slots = route
    tokens, gates = random(len(chosen), 3), random(len(chosen), seed=1).sigmoid()
    assignment = torch.tensor(chosen)
    buffer, positions = moe.dispatch(tokens, assignment, experts, slots)
    scale = torch.arange(1.0, experts + 1, dtype=torch.float64)  # what expert e does: times e + 1
    got = moe.combine(buffer * scale[:, None, None], assignment, positions, gates)

    taken, expected = [0] * experts, torch.zeros_like(tokens)
    for i, expert in enumerate(chosen):
        if taken[expert] < slots:
            expected[i] = gates[i] * scale[expert] * tokens[i]
            assert int(positions[i]) == taken[expert]
            taken[expert] += 1
        else:
            assert int(positions[i]) == -1
    torch.testing.assert_close(got, expected)
    overflow = (torch.bincount(assignment, minlength=experts) - slots).clamp(min=0).sum()
    assert int((positions < 0).sum()) == int(overflow)


@settings(max_examples=200)
@given(st.integers(1, 10_000), st.integers(1, 256), st.integers(1, 8), st.integers(1, 32).map(lambda n: n / 8))
def test_capacity_is_the_least_that_suffices(tokens, experts, k, factor):
    slots = moe.capacity(tokens, experts, k, factor)
    assert (slots - 1) * experts < k * tokens * factor <= slots * experts


# --- gradients --------------------------------------------------------------------------------------------------------


def spread(tokens, experts, seed=0):
    """Logits without near ties, so that a small step changes no choice."""
    order = torch.stack(
        [torch.randperm(experts, generator=torch.Generator().manual_seed(seed + i)) for i in range(tokens)]
    )
    return (0.5 * order + 0.1 * random(tokens, experts, seed=seed).tanh()).requires_grad_()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_gradients_of_every_balance_term_are_the_numerical_ones(k):
    clean, std = spread(6, 5), (0.05 + 0.05 * random(6, 5, seed=2).sigmoid()).requires_grad_()
    noise = random(6, 5, seed=3).clamp(-1, 1)
    assert torch.autograd.gradcheck(lambda c, s: moe.importance_loss(moe.noisy_top_k(c, s, noise, k)), (clean, std))
    assert torch.autograd.gradcheck(
        lambda c, s: moe.load_loss(moe.load_probability(c, 10 * s, c + noise * s, k)), (clean, std)
    )
    chosen = clean.topk(k).indices.T.flatten()
    assert torch.autograd.gradcheck(lambda c: moe.switch_loss(torch.softmax(c, -1).repeat(k, 1), chosen, 5), (clean,))


def test_closed_forms_of_the_gradients_in_the_lecture():
    gates = random(7, 4).sigmoid().requires_grad_()
    (slope,) = torch.autograd.grad(moe.importance_loss(gates), gates)
    importance = gates.detach().sum(0)
    mean, variation = importance.mean(), moe.importance_loss(gates.detach())
    expected = 2 / (4 * mean) * (importance / mean - 1 - variation)
    torch.testing.assert_close(slope, expected.expand(7, 4))

    logits = random(7, 4).requires_grad_()
    assignment = logits.argmax(-1)
    probabilities = torch.softmax(logits, -1)
    (slope,) = torch.autograd.grad(moe.switch_loss(probabilities, assignment, 4), logits)
    fraction = F.one_hot(assignment, 4).double().mean(0)
    p = probabilities.detach()
    torch.testing.assert_close(slope, 4 / 7 * p * (fraction - (p * fraction).sum(1, keepdim=True)))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_gradients_of_the_whole_layer_are_the_numerical_ones(k):
    tokens, router = spread(4, 3).detach(), torch.eye(3, dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (tokens, router, random(3, 3, 2), random(3, 2, 3))]
    assert torch.autograd.gradcheck(lambda *a: moe.moe_layer(*a, k, 1.0), inputs)


# --- other people's layers --------------------------------------------------------------------------------------------


def mixtral_block(experts, k, width, hidden):
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="needs transformers")
    config = mixtral.MixtralConfig(
        hidden_size=width, intermediate_size=hidden, num_local_experts=experts, num_experts_per_tok=k
    )
    config._experts_implementation = "eager"
    block = mixtral.MixtralSparseMoeBlock(config)
    for i, parameter in enumerate(block.parameters()):
        parameter.data = 0.5 * random(*parameter.shape, seed=i).float()
    return block


@pytest.mark.parametrize("k", [2, 3])
def test_gates_and_experts_equal_hugging_faces_mixtral(k):
    block, tokens = mixtral_block(5, k, 8, 12), random(10, 8, seed=9).float()
    expected = block(tokens.unsqueeze(0))[0]
    weights = block.experts
    logits = tokens @ block.gate.weight.T
    nothing = torch.zeros_like(logits)
    gates = moe.noisy_top_k(logits, nothing, nothing, k)
    pairs, experts = gates.nonzero().unbind(1)
    order = experts.argsort(stable=True)

    def gated(both):
        gate, up = both.chunk(2, -1)
        return F.silu(gate) * up

    counts = torch.bincount(experts, minlength=5).tolist()
    w1, w2 = weights.gate_up_proj.transpose(1, 2), weights.down_proj.transpose(1, 2)
    outputs = run_experts(tokens[pairs[order]], counts, w1, w2, gated)
    got = torch.zeros_like(tokens).index_add(0, pairs[order], outputs * gates[pairs, experts][order].unsqueeze(1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2])
def test_auxiliary_loss_equals_hugging_faces_for_mixtral(k):
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="needs transformers")
    logits = random(30, 6).float()
    theirs = mixtral.load_balancing_loss_func((logits,), 6, k)  # sums over the k choices; ours is their mean
    chosen = logits.topk(k).indices.T.flatten()
    ours = moe.switch_loss(torch.softmax(logits, -1).repeat(k, 1), chosen, 6)
    torch.testing.assert_close(k * ours, theirs)


@pytest.mark.parametrize("factor", [0.5, 1.0, 8.0])
def test_layer_equals_hugging_faces_switch_layer(factor):
    switch = pytest.importorskip(
        "transformers.models.switch_transformers.modeling_switch_transformers", reason="needs transformers"
    )
    tokens, width, hidden, experts = 24, 8, 6, 4
    config = switch.SwitchTransformersConfig(
        d_model=width,
        d_ff=hidden,
        num_experts=experts,
        expert_capacity=moe.capacity(tokens, experts, 1, factor),
        dropout_rate=0.0,
        dense_act_fn="relu",
    )
    layer = switch.SwitchTransformersSparseMLP(config).eval()
    for i, parameter in enumerate(layer.parameters()):
        parameter.data = 0.5 * random(*parameter.shape, seed=i).float()
    inputs = random(tokens, width, seed=5).float()
    w1, w2 = (
        torch.stack([getattr(layer.experts[f"expert_{e}"], name).weight.T for e in range(experts)])
        for name in ("wi", "wo")
    )
    got, auxiliary = moe.moe_layer(inputs, layer.router.classifier.weight.T, w1, w2, 1, factor)
    torch.testing.assert_close(got, layer(inputs.unsqueeze(0))[0], rtol=1e-4, atol=1e-5)
    logits = inputs @ layer.router.classifier.weight.T
    theirs = switch.load_balancing_loss_func(torch.softmax(logits, -1).unsqueeze(0), logits.argmax(-1).unsqueeze(0))
    torch.testing.assert_close(auxiliary, theirs)


def test_layer_equals_st_moe_pytorch():
    st_moe = pytest.importorskip("st_moe_pytorch", reason="needs st-moe-pytorch")
    width, hidden, experts = 8, 6, 4

    class Expert(nn.Module):
        def __init__(self):
            super().__init__()
            self.w1, self.w2 = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

        def forward(self, x):
            return self.w2(torch.relu(self.w1(x)))

    torch.manual_seed(0)
    members = [Expert() for _ in range(experts)]
    # No token's second choice left to chance, and room for all
    theirs = st_moe.MoE(
        width,
        num_experts=experts,
        gating_top_n=2,
        experts=nn.ModuleList(members),
        threshold_eval=0.0,
        capacity_factor_eval=4.0,
    ).eval()
    tokens = random(12, width).float()
    w1, w2 = torch.stack([m.w1.weight.T for m in members]), torch.stack([m.w2.weight.T for m in members])
    got, _ = moe.moe_layer(tokens, theirs.gate.to_gates.weight.T, w1, w2, 2, 4.0)
    torch.testing.assert_close(got, theirs(tokens.unsqueeze(0)).outputs[0], rtol=1e-4, atol=1e-5)


# --- the fast layer and the transformer -------------------------------------------------------------------------------


class Given(nn.Module):
    """A router that was told what to do."""

    def __init__(self, routing):
        super().__init__()
        self.given = routing

    def forward(self, hidden, ids):
        return self.given


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_fast_layer_drops_and_computes_what_the_exercise_does(factor):
    tokens, weight = random(20, 6).float(), random(6, 4, seed=1).float()
    expert, gate = moe.switch_gate(tokens @ weight)
    slots = moe.capacity(20, 4, 1, factor)
    layer = MoELayer(Given(Routing(torch.arange(20), expert, gate, capacity=slots)), 6, 5, 4)
    expected, _ = moe.moe_layer(tokens, weight, layer.w1, layer.w2, 1, factor)
    got, _ = layer(tokens, torch.zeros(20).long())
    torch.testing.assert_close(got, expected)
    counts = torch.bincount(expert, minlength=4)
    assert layer.dropped == int((counts - slots).clamp(min=0).sum())
    assert layer.load.tolist() == counts.tolist()
    weights = random(20, 6, seed=2).float()
    ours = torch.autograd.grad((got * weights).sum(), [layer.w1, layer.w2])
    theirs = torch.autograd.grad((expected * weights).sum(), [layer.w1, layer.w2])
    torch.testing.assert_close(ours, theirs)


ROUTERS = {
    "noisy top-2": lambda: NoisyTopK(16, 4, 2, {"importance": 0.1, "load": 0.1, "switch": 0.01}),
    "switch": lambda: Switch(16, 4),
    "expert choice": lambda: ExpertChoice(16, 4),
    "hash": lambda: Hash(4),
    "REINFORCE": lambda: Reinforce(16, 4),
}


@pytest.fixture(scope="module")
def texts():
    corpus = build_corpus(20_000)
    assert set(corpus.train) == {"prose", "code", "sums"}
    return corpus


@pytest.mark.parametrize("name", ROUTERS)
def test_every_router_trains_and_is_measured(name, texts):
    torch.manual_seed(0)
    model = CharTransformer(lambda: MoELayer(ROUTERS[name](), 16, 8, 4), VOCABULARY, width=16, context=32)
    before = measure(model, texts.validation, count=8, length=32)
    train_language_model(model, texts.train, steps=40, count=4, length=32, lr=1e-2, seed=0)
    after = measure(model, texts.validation, count=8, length=32)
    assert after.perplexity < 0.6 * before.perplexity
    assert after.load.shape == (2, 3, 4)
    pairs = 2 if name == "noisy top-2" else 1
    assert after.load.sum((1, 2)).tolist() == [8 * 32 * 3 * pairs] * 2
    assert 1 <= after.max_over_mean <= 4 and 1 <= after.rank <= 16
    again = measure(model, texts.validation, count=8, length=32)
    assert again.loss == after.loss  # no noise and no drawing in evaluation
    routers = [layer.router for layer in model.moe_layers()]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for r in routers for p in r.parameters())


def leaks(model, ids) -> bool:
    """Does a change of the last symbol change an earlier prediction?"""
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % VOCABULARY
    with torch.no_grad():
        return not torch.allclose(model(ids)[0][:, :-1], model(changed)[0][:, :-1], atol=1e-5)


@pytest.mark.parametrize("name", ["dense", "noisy top-2", "expert choice", "hash", "REINFORCE"])
def test_only_expert_choice_sees_the_future(name, texts):
    torch.manual_seed(0)
    make = (lambda: DenseFFN(16, 32)) if name == "dense" else (lambda: MoELayer(ROUTERS[name](), 16, 8, 4))
    model = CharTransformer(make, VOCABULARY, width=16, context=32).eval()
    ids = batch_of(texts.train, 10, 32, torch.Generator().manual_seed(0))[:, :-1]
    assert leaks(model, ids) == (name == "expert choice")


def test_equal_work_is_equal_work():
    dense, wide = (CharTransformer(lambda h=h: DenseFFN(64, h), VOCABULARY) for h in (128, 1024))
    sparse = CharTransformer(lambda: MoELayer(Switch(64, 8), 64, 128, 8), VOCABULARY)
    assert ffn_macs(dense) == 2 * 2 * 64 * 128 and ffn_macs(wide) == 8 * ffn_macs(dense)
    assert ffn_macs(sparse) == ffn_macs(dense) + 2 * 64 * 8  # the router
    experts = sum(layer.w1.numel() + layer.w2.numel() for layer in sparse.moe_layers())
    assert experts == ffn_macs(wide)  # a weight is one multiplication in a dense layer


def test_corpus_is_deterministic_and_images_are_their_own_language():
    first, second = (build_corpus(15_000, images=True) for _ in range(2))
    assert all(torch.equal(first.train[name], second.train[name]) for name in first.train)
    assert int(first.train["images"].min()) >= VOCABULARY - 16 > int(first.train["prose"].max())
    assert encode("a\nÄ").tolist()[0] != encode("b").tolist()[0] and int(encode("Ä")) == VOCABULARY - 17
