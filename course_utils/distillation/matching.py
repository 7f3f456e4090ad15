"""What of a teacher's inside can be matched: features, attention and relations, each as a loss.

A. Romero et al., *FitNets: Hints for Thin Deep Nets*, arXiv:1412.6550, ICLR 2015.
S. Zagoruyko and N. Komodakis, *Paying More Attention to Attention*, arXiv:1612.03928, ICLR 2017.
W. Park, D. Kim, Y. Lu and M. Cho, *Relational Knowledge Distillation*, arXiv:1904.05068, CVPR 2019.
"""

import torch.nn.functional as F
from torch import Tensor


def feature_loss(regressed: Tensor, teacher: Tensor) -> Tensor:
    """Half the mean square of the distance between features (Romero 2015, eq. 3).

    regressed: what a regressor makes of the student's features; teacher: the teacher's. Both
    [batch, ...], of one shape. Returns a scalar: the paper sums over a feature's elements, we
    take their mean, which only changes the weight.
    """
    return F.mse_loss(regressed, teacher) / 2


def attention(features: Tensor) -> Tensor:
    """Where features are large: the sum of squares over channels, as a vector of length 1.

    Zagoruyko 2017, section 3.1. features: [batch, channels, height, width]. Returns [batch,
    height · width].
    """
    return F.normalize(features.square().sum(dim=1).flatten(1))


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared distance of two maps of `attention`, mean over the batch.

    Zagoruyko 2017, eq. 2, squared as in the authors' code. student, teacher: [batch, places].
    Returns a scalar.
    """
    return (student - teacher).square().sum(dim=1).mean()


def relations(features: Tensor) -> Tensor:
    """How far the examples of a batch are from each other, in units of the mean distance.

    Park 2019, section 3.2. features: [batch, units], batch at least 2. Returns
    [batch · (batch − 1) / 2].
    """
    distances = F.pdist(features)
    return distances / distances.mean()


def relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber's loss between two batches' `relations`, mean over pairs (Park 2019, section 3.2).

    student: [batch, units]; teacher: [batch, any other number of units]. Returns a scalar.
    """
    return F.smooth_l1_loss(relations(student), relations(teacher))
