"""Which point a search hands over, against loops that keep every iterate of every job."""

import runpy
from dataclasses import replace
from pathlib import Path

import plain_apgd
import pytest
import torch
from nets import images, smooth
from test_apgd import is_close, jobs_of, search
from test_pgd_iterates import iterates as pgd_iterates
from test_pgd_iterates import search as pgd_search
from test_pgd_iterates import settings

from fftune.attacks import apgd, attack_spec, fab, search_state, square
from fftune.config import AttackConfig, DataSpec, ThreatModel
from fftune.data.subset import sample
from fftune.devices import CPU
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start

SHAPE = (2, 3, 4)
MODELS = Path(__file__).parents[3] / "shared" / "models"


def last_success(x, wrong: bool, jobs):
    """Of (points, won) of each job in order: AutoAttack's own rule, for one example."""
    if wrong:
        return x
    for points, won in jobs:
        reached = [point for point, w in zip(points, won, strict=True) if w]
        if reached:
            return reached[-1]
    return x


@pytest.mark.parametrize("seed", range(4))
def test_apgd_hands_over_the_last_misclassified_iterate_of_the_first_target(seed) -> None:
    net, x, steps = smooth(5, SHAPE, seed), images(12, SHAPE, seed), 8
    clean = net(x).detach()
    y = clean.argmax(1)
    y[0] = (y[0] + 1) % 5  # wrong when clean
    x_pert = search(
        net, x, y, loss="margin", steps=steps, targets=3, protocol="last_success", search="apgd"
    )
    every = jobs_of(net, x, y, clean, steps=steps, targets=3, restarts=1, loss="margin")
    fooled, later = 0, 0
    for row in range(12):
        jobs = [(points, won) for points, _, _, _, won in every[row]]
        expected = last_success(x[row], bool(clean[row].argmax() != y[row]), jobs)
        assert is_close(x_pert[row], expected)
        fooled += not torch.equal(expected, x[row])
        later += any(won.count(True) > 1 for _, won in jobs)
    assert 0 < fooled < 12 and later  # all kinds occur: fooled or not, by one iterate or several


@pytest.mark.parametrize("protocol", ["best_loss", "first_success", "last_success"])
def test_pgd_hands_over_what_its_protocol_says(protocol) -> None:
    net, x = smooth(4, SHAPE, 3), images(16, SHAPE, 3)
    clean = net(x).detach()
    y = clean.argmax(1)
    y[:2] = (y[:2] + 1) % 4
    config = settings("linf", steps=7, step_size=0.03, protocol=protocol)
    x_pert = pgd_search(net, x, y, config, loss="margin")
    seen = set()
    for row, points in enumerate(pgd_iterates(net, x, y, clean, config, loss="margin")):
        leads = [float(lead(net(point[None])[0], int(y[row]))) for point in points]
        won = [value > 0 for value in leads]
        best = max(range(8), key=lambda i: leads[i])
        at_start = float(lead(clean[row], int(y[row])))
        if protocol == "best_loss":
            expected = points[best]
        elif protocol == "last_success":
            expected = last_success(x[row], at_start > 0, [(points, won)])
        elif at_start > 0:
            expected = x[row]
        elif any(won):
            expected = points[won.index(True)]
        else:
            expected = points[best] if leads[best] > at_start else x[row]
        assert is_close(x_pert[row], expected)
        seen.add(any(won))
    assert seen == {True, False}


def lead(z, y: int):
    return torch.cat([z[:y], z[y + 1 :]]).max() - z[y]


def test_a_boundary_search_hands_over_the_nearest_of_the_first_target_it_crosses() -> None:
    """A far class is aimed at first, a nearer one second: best loss takes the nearer."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 3)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 20.0]]))
        net[1].bias.copy_(torch.tensor([0.0, -0.3, -10.45]))
    x, y = torch.full((1, 1, 1, 2), 0.5).double(), torch.tensor([0])
    assert net(x).argsort(descending=True).tolist() == [[0, 1, 2]]
    found = {}
    for protocol in ("best_loss", "last_success"):
        config = AttackConfig(
            threat=ThreatModel(eps=0.3), search="fab", steps=20, targets=2, start="none",
            protocol=protocol,
        )  # fmt: skip
        found[protocol] = fab(
            net, x, y, config=config, goal="adversarial", loss="margin", noise=Noise(0),
            ids=torch.arange(1),
        )  # fmt: skip
    assert net(found["best_loss"]).argmax(1).tolist() == [2]
    assert net(found["last_success"]).argmax(1).tolist() == [1]


def test_square_leaves_what_it_does_not_fool_as_it_was() -> None:
    net, x = smooth(4, (2, 5, 5), 4), images(12, (2, 5, 5), 4)
    y = net(x).argmax(1)
    config = AttackConfig(
        threat=ThreatModel(eps=0.08), search="square", steps=15, start="none",
        protocol="last_success",
    )  # fmt: skip
    x_pert = square(
        net, x, y, config=config, goal="adversarial", loss="margin", noise=Noise(0),
        ids=torch.arange(12),
    )  # fmt: skip
    fooled = net(x_pert).argmax(1) != y
    assert 0 < int(fooled.sum()) < 12
    assert torch.equal(x_pert[~fooled], x[~fooled])


@pytest.mark.parametrize(
    ("name", "protocol", "loss"),
    [
        ("apgd", "best_loss", "dlr"),
        ("apgd", "last_success", "dlr"),
        ("square", "last_success", "margin"),
    ],
)
def test_how_many_jobs_go_side_by_side_moves_no_point(name, protocol, loss, monkeypatch) -> None:
    """Ten images take their jobs one after another, or all at once."""
    net, x = smooth(5, (2, 5, 5), 1), images(10, (2, 5, 5), 1)
    jobs = {"targets": 4} if name == "apgd" else {"restarts": 4}
    config = AttackConfig(
        threat=ThreatModel(eps=0.1), search=name, steps=20, protocol=protocol, **jobs
    )
    found, y = [], net(x).argmax(1)
    for width in (1, 128):
        monkeypatch.setattr(search_state, "policy", lambda _, w=width: replace(CPU, width=w))
        point = attack_spec(name).run(
            net, x, y, config=config, goal="adversarial", loss=loss, noise=Noise(0),
            ids=torch.arange(10),
        )  # fmt: skip
        found.append(point)
    assert 2 < int((net(found[0]).argmax(1) != y).sum()) < 10
    assert is_close(*found)


def test_every_attack_of_ours_names_its_default_first() -> None:
    for name in ("pgd", "fgsm", "cw", "pgd_hedged"):
        assert attack_spec(name).protocols[0] == "last_iterate"
    for name in ("apgd", "fab", "deepfool", "rays", "square"):
        assert attack_spec(name).protocols[0] == "best_loss"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["natural_small", "fastat_small"])
def test_on_300_real_images_every_point_is_that_of_the_loop(name) -> None:
    """APGD-CE of 100 steps in float64 at 8/255, and a loop over the same batch."""
    architectures = MODELS / "architectures.py"
    if not architectures.is_file():
        pytest.skip("the published nets are not there")
    net = runpy.run_path(str(architectures))["load"](name).double().eval()
    _, x, y = next(sample(DataSpec(name="cifar10"), "test", 300).batches(300))
    x, ids = x.double(), torch.arange(300)
    config = AttackConfig(
        threat=ThreatModel(eps=8 / 255), search="apgd", steps=100, protocol="last_success"
    )
    noise = Noise(0)
    x_pert = apgd(net, x, y, config=config, goal="adversarial", loss="ce", noise=noise, ids=ids)
    with torch.no_grad():
        right = net(x).argmax(1) == y  # the others are handed over as they are
    starts = start(x[right], config, ExampleNoise(noise.fold("apgd", 0), ids[right]))
    expected = x.clone()
    expected[right] = _last_misclassified(net, x[right], y[right], starts)
    assert 0 < int((expected != x).flatten(1).any(1).sum()) <= int(right.sum())
    assert int(((x_pert - expected).abs().flatten(1).amax(1) > 1e-9).sum()) == 0


def _last_misclassified(net, x, y, x_start):
    """Croce & Hein 2020, alg. 1, for a batch; x itself where no iterate is misclassified."""

    def ask(point):
        point = point.clone().requires_grad_(True)
        logits = net(point)
        each = torch.nn.functional.cross_entropy(logits, y, reduction="none")
        (grad,) = torch.autograd.grad(each.sum(), point)
        return each.detach(), grad, logits.argmax(1) != y

    def kept(mask, one, other):
        return torch.where(mask.view(-1, *[1] * (one.dim() - 1)), one, other)

    eps, steps = 8 / 255, 100
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    now = before = best = x_start
    loss, grad, wrong = ask(now)
    found = kept(wrong, now, x)
    loss_best, grad_best, length = loss, grad, torch.full_like(loss, 2 * eps)
    checks, since, last = plain_apgd.checkpoints(steps), torch.zeros_like(loss), 0
    halved, loss_best_last = torch.ones_like(wrong), loss
    for k in range(steps):
        z = (now + length.view(-1, 1, 1, 1) * grad.sign()).clamp(low, high)
        if k > 0:
            z = (now + 0.75 * (z - now) + 0.25 * (now - before)).clamp(low, high)
        ahead, grad, wrong = ask(z)
        since, loss, before, now = since + (ahead > loss), ahead, now, z
        found = kept(wrong, now, found)
        better = loss > loss_best
        best, grad_best = kept(better, now, best), kept(better, grad, grad_best)
        loss_best = torch.maximum(loss, loss_best)
        if k + 1 in checks:
            in_vain = ~halved & (loss_best == loss_best_last)
            halved = (since <= 0.75 * (k + 1 - last)) | in_vain
            length, loss_best_last = torch.where(halved, length / 2, length), loss_best
            now, grad = kept(halved, best, now), kept(halved, grad_best, grad)
            since, last = torch.zeros_like(since), k + 1
    return found
