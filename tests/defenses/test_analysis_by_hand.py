"""Slopes of nets whose derivatives are known, and second attacks that walk from cell to cell."""

from dataclasses import astuple

import pytest
import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.config import AttackConfig, ThreatModel
from fftune.defenses import analysis
from fftune.defenses.analysis import gradient_gap, ratio_gap, second_attacks


class Powers(nn.Module):
    """Of two pixels a and b: the logits a^2 - b, 3 b and -a b."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.flatten(1).unbind(1)
        return torch.stack([a**2 - b, 3 * b, -a * b], 1)


X = torch.tensor([[0.25, 0.5], [0.75, 0.125], [0.5, 1.0]]).view(3, 2, 1, 1)
SLOPES = [[2 * a + 1, 3, a + b] for a, b in X.flatten(1).tolist()]
"""||(2 a, -1)||_1, ||(0, 3)||_1 and ||(-b, -a)||_1."""


@pytest.mark.parametrize("false", range(3))
@pytest.mark.parametrize("true", range(3))
def test_a_gap_is_the_false_slope_less_the_true_one(false: int, true: int) -> None:
    labels = [torch.tensor([label, (label + 1) % 3, label]) for label in (false, true)]
    expected = [
        slopes[f] - slopes[t]
        for slopes, f, t in zip(SLOPES, *(label.tolist() for label in labels), strict=True)
    ]
    with torch.no_grad():  # it takes its gradients all the same
        found = gradient_gap(Powers(), X, *labels)
    assert found.tolist() == pytest.approx(expected)
    assert not X.requires_grad


def test_slopes_of_log_probabilities_by_hand() -> None:
    """d log p_c = d z_c - sum_j p_j d z_j."""
    jacobians = [[(2 * a, -1), (0, 3), (-b, -a)] for a, b in X.flatten(1).tolist()]
    p = Powers()(X).softmax(1).tolist()
    norms = []
    for jacobian, probability in zip(jacobians, p, strict=True):
        mean = [sum(q * d[i] for q, d in zip(probability, jacobian, strict=True)) for i in (0, 1)]
        norms.append([sum(abs(d[i] - mean[i]) for i in (0, 1)) for d in jacobian])
    false, true = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2])
    expected = [n[f] - n[t] for n, f, t in zip(norms, false, true, strict=True)]
    found = gradient_gap(Powers(), X, false, true, score="log_prob")
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("score", ["logit", "log_prob"])
def test_sampled_ratios_by_a_plain_loop(score, noise) -> None:
    """The largest of 32 ratios of each class, an example and a draw at a time."""
    ids, eps, net = torch.tensor([4, 9, 2]), 0.05, Powers()
    false, true = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2])

    def scores(x: Tensor) -> Tensor:
        z = net(x).double()
        return z if score == "logit" else z - z.exp().sum(1, keepdim=True).log()

    expected = []
    for n in range(3):
        largest = {}
        for draw in range(32):
            u = noise.fold("lipschitz", draw).uniform(ids[n : n + 1], (2, 1, 1))
            delta = eps * (2 * u - 1)
            change = (scores(X[n : n + 1] + delta) - scores(X[n : n + 1]))[0].abs()
            for label in (int(false[n]), int(true[n])):
                ratio = float(change[label] / delta.abs().max())
                largest[label] = max(largest.get(label, 0.0), ratio)
        expected.append(largest[int(false[n])] - largest[int(true[n])])
    found = ratio_gap(net, X, false, true, score=score, eps=eps, noise=noise, ids=ids)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    assert analysis.SAMPLES == 32


def test_the_default_score_is_the_logit(noise) -> None:
    false, true, ids = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2]), torch.arange(3)
    net = Powers()
    slopes = [gradient_gap(net, X, false, true, **k) for k in ({}, {"score": "logit"})]
    assert torch.equal(*slopes)
    ratios = [
        ratio_gap(net, X, false, true, eps=0.1, noise=noise, ids=ids, **k)
        for k in ({}, {"score": "logit"})
    ]
    assert torch.equal(*ratios)


CELLS = ["A+", "B+", "C-", "A-", "D+", "D+", "E-", "F+", "F-", "G-"]
"""The class of each tenth of [0, 1], and where an attacker of that class goes next."""


class Walk(nn.Module):
    """A net of one pixel whose cross-entropy leads from cell to cell; notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        v = x.flatten(1).squeeze(1)
        cell = (v * 10).long().clamp(0, 9)
        label = torch.tensor([ord(c[0]) - ord("A") for c in CELLS])[cell]
        away = torch.tensor([1.0 if c[1] == "+" else -1.0 for c in CELLS])[cell]
        # The loss of a class rises where its score falls.
        score = 5 - away * (v - v.detach())
        return torch.zeros(len(x), 7).scatter(1, label[:, None], score[:, None])


JOURNEYS = {  # from a cell of the class, to, and to
    0: "ABC",  # flipped, and flipped again, elsewhere
    3: "ACB",  # likewise
    2: "CBC",  # flipped, and returned
    9: "GFF",  # flipped, and not again
    4: "DDE",  # survived, and flipped then
    7: "FFF",  # survived twice
    8: "FFF",  # likewise
}


def test_every_fate_of_a_second_attack(noise) -> None:
    """Each step is as long as the radius; the second goes on from where the first has led."""
    cells = torch.tensor([*JOURNEYS, 1])
    y = torch.tensor([*(ord(way[0]) - ord("A") for way in JOURNEYS.values()), 0])  # 1 is wrong
    x = (0.05 + 0.1 * cells).view(-1, 1, 1, 1)
    config = AttackConfig(threat=ThreatModel(eps=0.1), steps=1, step_size=0.1, start="none")
    net = Walk()
    settings = {"config": config, "noise": noise, "ids": torch.arange(8), "lengths": [1]}
    (found,) = second_attacks(net, x, y, **settings)
    assert astuple(found) == (7, 4, 3, 1, 3, 1)
    assert (found.correct, found.flipped, found.flipped_again) == (7, 4, 3)
    assert (found.returned, found.survived, found.survivors_flipped) == (1, 3, 1)
    assert str(found) == (
        "second attack: 7 right, 4 flipped; a second attack flips 3 of these, 1 back to the "
        "truth, and 1 of the 3 that survived"
    )


def test_the_second_attack_starts_elsewhere_and_keeps_ids(noise) -> None:
    """Without steps an attack is its start; only examples that were right are attacked."""
    cells, ids = torch.tensor([5, 0, 7, 2, 4]), torch.tensor([30, 10, 50, 20, 40])
    y = torch.tensor([3, 6, 5, 2, 3])  # the second is wrong
    x = (0.05 + 0.1 * cells).view(-1, 1, 1, 1)
    config = AttackConfig(threat=ThreatModel(eps=0.04), steps=0)
    net = Walk()
    second_attacks(net, x, y, config=config, noise=noise, ids=ids, lengths=[0])
    _, first, second = net.asked
    kept = torch.tensor([0, 2, 3, 4])
    settings = {"config": config, "goal": "adversarial", "loss": "ce", "ids": ids[kept]}
    assert torch.equal(first, pgd(net, x[kept], y[kept], noise=noise, **settings))
    again = pgd(net, first, y[kept], noise=noise.fold("second"), **settings)
    assert torch.equal(second, again)
    same = pgd(net, first, y[kept], noise=noise, **settings)
    assert not torch.equal(second, same)
