"""Distillation against other people's libraries, closed forms, and the paper's own statements."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special
from torch import Tensor, nn

from course_utils import distillation
from course_utils.models import mlp, mlp_forward

temperatures = st.floats(0.2, 50)
alphas = st.floats(0, 1)


@st.composite
def batches(draw, members: int = 2) -> list[Tensor]:
    """Tensors [batch, classes] of logits, all of one shape, float64."""
    shape = draw(st.integers(1, 6)), draw(st.integers(2, 8))
    one = arrays(np.float64, shape, elements=st.floats(-20, 20, allow_subnormal=False))
    return [torch.from_numpy(draw(one)) for _ in range(members)]


def labels_for(logits: Tensor) -> Tensor:
    return torch.arange(len(logits)) % logits.shape[1]


@given(batches(1), temperatures)
def test_soft_targets_are_scipys_softmax(batch, temperature):
    wanted = special.softmax(batch[0].numpy() / temperature, axis=-1)
    np.testing.assert_allclose(distillation.soft_targets(batch[0], temperature).numpy(), wanted, rtol=1e-10)


@given(batches(1), temperatures, st.floats(1.01, 10))
def test_a_higher_temperature_has_a_higher_entropy(batch, temperature, factor):
    cold, hot = (
        special.entr(distillation.soft_targets(batch[0], t)).sum(-1) for t in (temperature, factor * temperature)
    )
    assert (hot >= cold - 1e-9).all()


@given(batches(), temperatures, alphas)
def test_loss_is_the_two_terms_of_torch(batch, temperature, alpha):
    student, teacher = batch
    labels = labels_for(student)
    divergence = nn.KLDivLoss(reduction="batchmean", log_target=True)(
        F.log_softmax(student / temperature, -1), F.log_softmax(teacher / temperature, -1)
    )
    wanted = alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student, labels)
    got = distillation.distillation_loss(student, teacher, labels, temperature, alpha)
    # The KL is a small difference of large logarithms, which T² magnifies
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9 * temperature**2)


@given(batches(), temperatures)
def test_divergence_is_scipys_relative_entropy(batch, temperature):
    p, q = (special.softmax(x.numpy() / temperature, axis=-1) for x in (batch[1], batch[0]))
    wanted = special.rel_entr(p, q).sum(-1).mean() * temperature**2
    got = float(distillation.distillation_loss(*batch, labels_for(batch[0]), temperature, 1.0))
    assert got == pytest.approx(wanted, rel=1e-6, abs=1e-9 * temperature**2)


@given(batches(), st.floats(0.5, 20), alphas)
@settings(max_examples=15)
def test_loss_passes_gradcheck(batch, temperature, alpha):
    student, teacher = batch
    student = (student / 5).requires_grad_()  # sure networks have second derivatives too large for finite differences
    labels = labels_for(student)
    assert torch.autograd.gradcheck(
        lambda z: distillation.distillation_loss(z, teacher / 5, labels, temperature, alpha), (student,), atol=1e-4
    )


@given(batches(), temperatures)
def test_gradient_is_autograds_of_the_kl_too(batch, temperature):
    """KL and cross-entropy with soft targets differ by the teacher's entropy, which the student cannot change."""
    student, teacher = batch
    student.requires_grad_()
    loss = distillation.distillation_loss(student, teacher, labels_for(student), temperature, 1.0)
    (of_loss,) = torch.autograd.grad(loss, student)
    closed = distillation.distillation_gradient(student.detach(), teacher, temperature)
    torch.testing.assert_close(of_loss, temperature**2 * closed / len(student), rtol=1e-8, atol=1e-9)


def test_gradient_shrinks_as_one_over_t_squared():
    student, teacher = torch.randn(2, 5, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norms = [distillation.distillation_gradient(student, teacher, t).norm() for t in (100.0, 200.0)]
    assert float(norms[0] / norms[1]) == pytest.approx(4, rel=0.02)


@given(batches(3), temperatures)
def test_ensemble_is_the_arithmetic_mean(batch, temperature):
    wanted = np.mean([special.softmax(x.numpy() / temperature, axis=-1) for x in batch], axis=0)
    np.testing.assert_allclose(distillation.ensemble_soft_targets(batch, temperature).numpy(), wanted, rtol=1e-10)


@given(batches(1), st.floats(0.0, 1.0))
def test_virtual_teacher_is_label_smoothing(batch, right):
    logits, classes = batch[0].float(), batch[0].shape[1]
    labels = labels_for(logits)
    epsilon = classes * (1 - right) / (classes - 1)
    # torch refuses ε > 1, but the loss is linear in ε
    plain, smooth = (F.cross_entropy(logits, labels, label_smoothing=e) for e in (0.0, 1.0))
    got = F.cross_entropy(logits, distillation.virtual_teacher(labels, classes, right))
    torch.testing.assert_close(got, (1 - epsilon) * plain + epsilon * smooth, rtol=1e-4, atol=1e-4)


def test_distill_is_torchs_sgd_on_a_module():
    torch.manual_seed(0)
    model = mlp(8, 7, 6, 4).double()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    inputs, teacher, labels = torch.randn(20, 8).double(), torch.randn(20, 4).double(), torch.arange(20) % 4
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(7):
        optimizer.zero_grad()
        distillation.distillation_loss(model(inputs), teacher, labels, 4.0, 0.7).backward()
        optimizer.step()
    got = distillation.distill(state, inputs, labels, teacher, 4.0, 0.7, 0.3, 7)
    assert list(got) == list(state)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(got[name], value)
    torch.testing.assert_close(mlp_forward(got, inputs), model(inputs).detach())


def test_distill_leaves_the_state_alone_and_shares_no_memory_with_it():
    torch.manual_seed(0)
    state = {name: value.clone() for name, value in mlp(4, 3, 2).state_dict().items()}
    before = {name: value.clone() for name, value in state.items()}
    got = distillation.distill(
        state, torch.randn(5, 4), torch.zeros(5, dtype=torch.long), torch.randn(5, 2), 2, 0.5, 1, 0
    )
    for name in state:
        got[name] += 1
        assert torch.equal(state[name], before[name])
