"""What else can be matched: the losses against other formulas, and the experiment in small."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from course_utils.distillation import distillation_loss, matching
from course_utils.distillation import reproduce_matching as reproduce
from course_utils.training import cosine, set_seed, train

TINY = reproduce.Settings(teacher_epochs=1, epochs=1, weights=(1.0, 10.0), smoothings=(0.1,), choosing_seeds=(100,))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_feature_loss_is_half_the_mean_square():
    student, teacher = random(5, 4, 3, 3), random(5, 4, 3, 3, seed=1)
    by_hand = np.linalg.norm((student - teacher).flatten().numpy()) ** 2 / (2 * student.numel())
    assert matching.feature_loss(student, teacher).item() == pytest.approx(by_hand)


def test_attention_is_where_features_are_large():
    features = torch.zeros(1, 2, 2, 2)
    features[0, :, 0, 1], features[0, 0, 1, 0] = torch.tensor([-1.0, 2.0]), 0.5
    energy = np.array([0, 5, 0.25, 0])
    np.testing.assert_allclose(matching.attention(features)[0], energy / np.sqrt(25 + 0.0625), rtol=1e-6)


def test_attention_loss_is_twice_one_minus_the_cosine():
    """For vectors of length 1; neither the number of channels nor the scale of the features counts."""
    student, teacher = random(6, 3, 4, 4), random(6, 8, 4, 4, seed=1)
    maps = [(features**2).sum(dim=1).flatten(1) for features in (student, teacher)]
    wanted = 2 * (1 - torch.cosine_similarity(*maps)).mean()
    found = matching.attention_loss(matching.attention(7 * student), matching.attention(teacher))
    torch.testing.assert_close(found, wanted)


def test_relation_loss_compares_distances_in_units_of_their_mean():
    student, teacher = random(7, 3), random(7, 20, seed=1)
    ratios = [pdist(features) / pdist(features).mean() for features in (student.numpy(), teacher.numpy())]
    distance = np.abs(ratios[0] - ratios[1])
    huber = np.where(distance < 1, distance**2 / 2, distance - 0.5).mean()
    assert matching.relation_loss(student, teacher).item() == pytest.approx(huber)
    turned = 5 * student @ torch.linalg.qr(random(3, 3, seed=2)).Q + 1
    assert matching.relation_loss(turned, student).item() == pytest.approx(0, abs=1e-12)


def test_relations_have_a_gradient_where_examples_coincide():
    features = torch.zeros(4, 3)
    features[0] = 1
    features.requires_grad_()
    matching.relation_loss(features, random(4, 5).float()).backward()
    assert features.grad.isfinite().all()


def test_a_student_that_is_its_teacher_has_nothing_to_match(few_digits):
    set_seed(0)
    student = reproduce.Student((3, 6, 24), 6)
    images, index = few_digits.train.images[:20], torch.arange(20)
    told = reproduce.lessons(student.network, images)
    student(images)
    with torch.no_grad():  # a regressor that only scales, as lessons do
        scale = student.seen["middle"].square().mean().sqrt()
        student.regressor.weight.copy_(torch.eye(6)[:, :, None, None] / scale)
        student.regressor.bias.zero_()
    for what in reproduce.MATCHED:
        own, others = (reproduce.mismatch(what, student, told, which, 4.0).item() for which in (index, index.flip(0)))
        assert abs(own) < 1e-5 and abs(own) < 0.05 * others, what


def test_the_student_of_labels_is_the_one_that_train_trains(few_digits):
    """So all ways have its first weights and order of digits."""
    settings = reproduce.Settings(epochs=2)
    untold = {"trained": {"features": torch.zeros(1, 5)}}
    found = reproduce.train_student(few_digits, settings, 3, {}, "trained", untold)
    set_seed(3)
    alone = reproduce.convolutional(*settings.student)
    train(
        alone, few_digits.train, epochs=2, lr=settings.lr, batch_size=settings.batch_size, seed=3, schedule=cosine
    )  # fmt: skip
    assert found == {"parameters": 3112, **reproduce.score(alone, few_digits)}


def test_logits_are_matched_as_in_distillation():
    student = reproduce.Student((3, 6, 24), 4)
    student.seen = {"logits": random(3, 10)}
    told, index = {"logits": random(8, 10, seed=1)}, torch.tensor([7, 0, 2])
    labels = torch.zeros(3, dtype=torch.int64)
    wanted = distillation_loss(student.seen["logits"], told["logits"][index], labels, 4.0, alpha=1.0)
    torch.testing.assert_close(reproduce.mismatch("logits", student, told, index, 4.0), wanted)


def test_the_weight_is_chosen_by_validation_errors_only():
    tries = [{"logits": 1.0}, {"logits": 1.0}, {"logits": 10.0}, {"logits": 10.0}, {"features": 1.0}]
    scores = [{"validation": v, "test": t} for v, t in ((3, 9), (6, 9), (4, 20), (4, 20), (5, 1))]
    choice = reproduce.choose(None, TINY, tries, *scores)
    assert choice["weights"] == {"logits": 10.0, "features": 1.0}
    assert choice["validation_errors"] == {"logits": {"1": 9, "10": 8}, "features": {"1": 5}}


@pytest.mark.usefixtures("own_cache")
def test_tiny_run_stores_every_way(few_digits, tmp_path):
    results = reproduce.run(2, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "matching.json").read_text()) == json.loads(json.dumps(results))
    assert set(results["choice"]["weights"]) == {"smoothing", *reproduce.MATCHED}
    assert len(results["ways"]) == 1 + 1 + 4 + 3 + 3
    assert all(len(scores) == 2 for scores in results["ways"].values())
    alike = [json.dumps(scores) for scores in results["ways"].values()]
    assert len(set(alike)) > 6  # ways differ
