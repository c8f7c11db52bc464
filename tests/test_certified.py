"""No attack beats a certificate; ties and other nets are never certified."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fftune.attacks import apgd, pgd
from fftune.certified import CertifiedCounts, certify, stays_right, stays_wrong
from fftune.config import AttackConfig, InputSpec, ThreatModel
from fftune.errors import ConfigError, ModelError
from fftune.models import make_model
from fftune.models.linf_recipe import hinge_mix, p_at
from fftune.noise import Noise

INPUTS = InputSpec(shape=(1, 4, 4), classes=3, mean=(0.5,), std=(0.3,))
EPS = 0.05


def data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes of 4 x 4 images: one bright column each, under noise."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (count,), generator=rng)
    x = 0.7 * torch.rand(count, 1, 4, 4, generator=rng)
    x[torch.arange(count), 0, :, y] += 0.25
    return x.clamp(0, 1), y


def net(steps: int, seed: int = 0) -> nn.Module:
    """Trained for so many steps by the recipe; 0 is a fresh one."""
    model = make_model("linf_dist", INPUTS, width=16, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.02, (0.9, 0.99), 1e-10)
    for step in range(steps):
        x, y = data(64, 100 + step)
        model.set_p(p_at(step / steps))
        loss = hinge_mix(model(x), y, threshold=2 * 2 * EPS * model.lipschitz)
        optimizer.zero_grad()
        loss.backward()
        model.decay(0.02 * 5e-3)
        optimizer.step()
    model.set_p(torch.inf)
    return model.eval()


@pytest.mark.parametrize(("steps", "eps"), [(0, 0.02), (150, EPS)])
def test_no_attack_beats_the_bound(steps, eps) -> None:
    model, (x, y), ids = net(steps), data(300, 7), torch.arange(300)
    threat = ThreatModel(eps=eps)
    counts = certify(model, x, y, threat=threat)
    with torch.no_grad():
        logits = model(x)
    right = logits.argmax(1) == y
    bounds = {"eps": eps, "lipschitz": model.lipschitz, "slack": 2 * model.rounding()}
    kept = {"adversarial": stays_right(logits, y, **bounds)}
    kept["hypocritical"] = stays_wrong(logits, y, **bounds)
    assert int(kept["adversarial"].sum()) == counts.stays_right
    assert int(kept["hypocritical"].sum()) == counts.stays_wrong
    beaten = {}
    for goal, bar in kept.items():
        turned = torch.zeros(300, dtype=torch.bool)
        for search, loss in ((pgd, "ce"), (apgd, "margin")):
            config = AttackConfig(threat=threat, steps=20)
            noise = Noise(1).fold("certified", search.__name__)
            found = search(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
            with torch.no_grad():
                turned |= (model(found).argmax(1) == y) != right
        assert not (turned & bar).any()
        beaten[goal] = int((turned & (right == (goal == "adversarial"))).sum())
    assert beaten["adversarial"] <= counts.foolable
    assert beaten["hypocritical"] <= counts.concealable
    if steps:  # the bound is of some use, and so are the attacks
        assert counts.stays_right > 30 and counts.stays_wrong > 0
        assert min(beaten.values()) > 0


def test_margins_of_the_closed_ball() -> None:
    """At eps = .25 and lipschitz 1 the bar is .5: a margin of .5 can end in a tie."""
    logits = torch.tensor([[0.5, 0.0], [0.501, 0.0], [0.0, 0.5], [0.0, 0.501], [0.0, 0.0]])
    y = torch.zeros(5, dtype=torch.long)
    bounds = {"eps": 0.25, "lipschitz": 1.0}
    assert stays_right(logits, y, **bounds).tolist() == [False, True, False, False, False]
    assert stays_wrong(logits, y, **bounds).tolist() == [False, False, False, True, False]
    assert not stays_right(logits, y, **bounds, slack=0.001).any()
    assert not stays_wrong(logits, y, eps=0.25, lipschitz=1.01).any()
    for flawed in (torch.nan, torch.inf):
        with pytest.raises(ModelError, match="not finite"):
            stays_right(logits.clone().fill_(flawed), y, **bounds)


def test_counts_add_and_bound() -> None:
    one = CertifiedCounts(eps=0.1, total=10, wrong=4, stays_right=5, stays_wrong=1)
    two = one + replace(one, total=6, wrong=0, stays_right=6, stays_wrong=0)
    assert (two.total, two.wrong, two.foolable, two.concealable) == (16, 4, 1, 3)
    assert two.hypocritical_risk == 3 / 4
    assert two.adversarial_risk == 1 / 12
    assert two.adversarial_accuracy == 11 / 16
    assert two.hypocritical_accuracy == 15 / 16
    assert CertifiedCounts(eps=0.1).hypocritical_risk != 0  # nan
    assert str(one).startswith("certified for these 10 examples, l_inf <= 0.1, this fp32 net: ")
    with pytest.raises(ConfigError, match="eps must be 0.1 for all counts, got 0.2"):
        one + replace(one, eps=0.2)


def test_batches_add_up_to_the_whole() -> None:
    model, (x, y), threat = net(30), data(50, 3), ThreatModel(eps=EPS)
    parts = (certify(model, a, b, threat=threat) for a, b in ((x[:7], y[:7]), (x[7:], y[7:])))
    assert sum(parts, CertifiedCounts(eps=EPS)) == certify(model, x, y, threat=threat)


def test_what_cannot_be_certified() -> None:
    x, y = data(4, 0)
    threat = ThreatModel(eps=EPS)
    with pytest.raises(ConfigError, match="norm must be 'linf'"):
        certify(net(0), x, y, threat=ThreatModel(norm="l2", eps=EPS))
    with pytest.raises(ModelError, match="only a bare linf_dist"):
        certify(nn.Flatten(), x, y, threat=threat)
    model = net(0)
    model.set_p(1000.0)
    with pytest.raises(ModelError, match="at p = inf only, got p = 1000"):
        certify(model, x, y, threat=threat)
    with pytest.raises(ModelError, match="in eval mode only"):
        certify(net(0).train(), x, y, threat=threat)
    with pytest.raises(ModelError, match="in fp32 only"):
        certify(net(0).double(), x.double(), y, threat=threat)
    with pytest.raises(ModelError, match="in fp32 only"):
        certify(net(0).bfloat16(), x.bfloat16(), y, threat=threat)
    with pytest.raises(ModelError, match=r"pixels in \[0, 1\]"):
        certify(net(0), x + 1, y, threat=threat)
