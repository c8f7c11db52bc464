import pytest
import torch
from torch import nn

from fftune.attacks import SEARCHES
from fftune.attacks.counted import Counted, clean_logits, narrowed
from fftune.config import AttackConfig, Search, ThreatModel
from fftune.errors import ModelError
from fftune.noise import Noise


def counted(model: nn.Module, x: torch.Tensor) -> Counted:
    with torch.no_grad():
        return Counted(model, model(x))


def run(net: nn.Module, x: torch.Tensor, search: Search, loss="ce", **settings) -> Counted:
    config = AttackConfig(threat=ThreatModel(eps=0.01), search=search, **settings)
    model = counted(net, x)
    SEARCHES[search](
        model, x, torch.ones(len(x)).long(), config=config, goal="adversarial", loss=loss,
        noise=Noise(0), ids=torch.arange(len(x)),
    )  # fmt: skip
    return model


def test_pgd_asks_once_a_step(linear, rng) -> None:
    model = run(linear, torch.rand(3, 3, 2, 2, generator=rng), "pgd", steps=5)
    assert model.forwards.tolist() == model.backwards.tolist() == [5, 5, 5]
    assert model.queries.tolist() == model.flat.tolist() == [0, 0, 0]


def test_decided_examples_cost_nothing_more(linear) -> None:
    """Far from the boundary, on the wrong side, and the two in turn."""
    away = linear.weight.detach().view(1, 3, 2, 2).sign() * 0.4
    x = torch.cat([0.5 + away, 0.5 - away, 0.5 + away])
    model = run(linear, x, "pgd", steps=5, protocol="strong")
    assert model.backwards.tolist() == [5, 0, 5]
    assert model.forwards.tolist() == [6, 0, 6]
    assert model.queries.tolist() == [1, 0, 1]


def test_square_counts_queries(linear) -> None:
    away = linear.weight.detach().view(1, 3, 2, 2).sign() * 0.4
    model = run(linear, 0.5 + away, "square", "margin", steps=37)
    assert model.queries.tolist() == model.forwards.tolist() == [37]
    assert model.backwards.tolist() == [0]


def test_fab_asks_and_differentiates_once_a_step_and_leaves_what_is_wrong(linear) -> None:
    away = linear.weight.detach().view(1, 3, 2, 2).sign() * 0.4
    x = torch.cat([0.5 + away, 0.5 - away])
    model = run(linear, x, "fab", "margin", steps=5, start="none")
    assert model.queries.tolist() == [6, 1]
    assert model.backwards.tolist() == [5, 0]


def test_rays_keeps_its_budget(linear) -> None:
    away = linear.weight.detach().view(1, 3, 2, 2).sign() * 0.4
    model = run(linear, 0.5 + away, "rays", "margin", steps=50)
    # A binary search that has begun is finished: ten queries at most.
    assert 50 <= model.queries.item() <= 60


def test_rows_that_repeat_are_counted_each(linear, rng) -> None:
    x = torch.rand(4, 3, 2, 2, generator=rng)
    model = counted(linear, x)
    rows = torch.tensor([2, 2, 0])
    part = narrowed(narrowed(model, rows), torch.tensor([True, True, False]))
    assert torch.equal(clean_logits(part, x[[2, 2]]), model.logits_clean[[2, 2]])
    with torch.no_grad():
        part(x[[2, 2]])
    assert model.forwards.tolist() == model.queries.tolist() == [0, 0, 2, 0]


class Detached(nn.Module):
    """A frozen net that no gradient passes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach().flatten(1)[:, :2]


@pytest.mark.parametrize(("search", "loss"), [("pgd", "ce"), ("deepfool", "margin")])
def test_a_net_without_gradients_is_one_line_and_where_counted_its_are_zero(
    rng, noise, search, loss
) -> None:
    x = torch.tensor([0.1, 0.9]).expand(2, 2).reshape(2, 1, 1, 2)
    model = run(Detached(), x, search, loss, steps=4)
    assert model.flat.tolist() == model.backwards.tolist()
    assert min(model.flat.tolist()) > 0
    config = AttackConfig(search=search, steps=4, threat=ThreatModel(eps=0.1))
    with pytest.raises(ModelError, match="no input gradients"):
        SEARCHES[search](
            Detached(),
            x,
            torch.ones(2, dtype=torch.int64),
            config=config,
            goal="adversarial",
            loss=loss,
            noise=noise,
            ids=torch.arange(2),
        )


def test_zero_gradients_are_noticed(rng) -> None:
    class Step(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([0 * x.sum((1, 2, 3)), 1 + 0 * x.sum((1, 2, 3))], 1)

    model = run(Step(), torch.rand(2, 3, 2, 2, generator=rng), "pgd", steps=4)
    assert model.flat.tolist() == model.backwards.tolist() == [4, 4]


def test_gradients_that_are_not_finite_are_counted_and_leave_their_pixel_alone() -> None:
    """Rows: all nan; one nan and all else zero; one nan; one infinite; sound."""
    nan, inf = float("nan"), float("inf")
    slopes = torch.tensor(
        [[nan, nan, nan], [nan, 0, 0], [nan, 2, -3], [inf, 2, -3], [1, 2, -3]]
    ).view(5, 1, 1, 3)

    class Sloped(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, x):
            return x.clone()

        @staticmethod
        def backward(_ctx, _grad):
            return slopes

    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Sloped.apply(x).flatten(1)

    x = torch.full((5, 1, 1, 3), 0.5)
    model = counted(Net(), x)
    leaf = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(model(leaf).sum(), leaf)
    assert model.flat.tolist() == [1, 1, 0, 0, 0]
    assert model.broken.tolist() == [1, 1, 1, 1, 0]
    assert grad.isfinite().all() and grad.square().sum().isfinite()
    signs = [[0, 0, 0], [0, 0, 0], [0, 1, -1], [1, 1, -1], [1, 1, -1]]
    assert grad.sign().flatten(1).tolist() == signs
