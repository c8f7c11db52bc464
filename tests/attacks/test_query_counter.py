import pytest
import torch
from nets import images, smooth
from torch import nn

from fftune.attacks import attack_spec
from fftune.attacks.query_counter import QueryCounter, clean_logits, index_batch
from fftune.config import AttackConfig, ThreatModel
from fftune.errors import ModelError
from fftune.keyed_noise import Noise


def counted(model: nn.Module, x: torch.Tensor) -> QueryCounter:
    with torch.no_grad():
        return QueryCounter(model, model(x))


def run(net: nn.Module, x: torch.Tensor, search: str, loss="ce", **settings) -> QueryCounter:
    config = AttackConfig(threat=ThreatModel(eps=0.01), search=search, **settings)
    model = counted(net, x)
    attack_spec(search).run(
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
    model = run(linear, x, "pgd", steps=5, protocol="first_success")
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
    part = index_batch(index_batch(model, rows), torch.tensor([True, True, False]))
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
        attack_spec(search).run(
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


def passes(search: str, loss="ce", *, goal="adversarial", classes=3, **settings) -> QueryCounter:
    """Counts of two examples that a radius of nothing can never fool."""
    net, x = smooth(classes, (1, 3, 3), 1), images(2, (1, 3, 3), 1)
    config = AttackConfig(threat=ThreatModel(eps=1e-7), search=search, **settings)
    model = counted(net, x)
    order = model.logits_clean.argsort(1, descending=True)
    y = order[:, 1] if goal in ("hypocritical", "targeted") else order[:, 0]
    attack_spec(search).run(
        model, x, y, config=config, goal=goal, loss=loss, noise=Noise(0), ids=torch.arange(2)
    )
    for kind in (model.forwards, model.backwards, model.queries):
        assert kind[0] == kind[1]
    return model


N = 5
COSTS = [
    # search, loss, settings, backwards, passes without a gradient
    ("fgsm", "ce", {}, 1, 0),
    ("pgd", "ce", {}, N, 0),
    ("pgd", "ce", {"restarts": 3}, 3 * N, 3),
    ("pgd", "ce", {"protocol": "first_success"}, N, 1),
    ("pgd", "ce", {"protocol": "first_success", "restarts": 3}, 3 * N, 3),
    ("pgd", "ce", {"goal": "stability", "protocol": "first_success"}, N, 1),
    ("cw", "margin", {}, N, 0),
    ("pgd_hedged", "ce", {}, 2 * N, 0),
    ("apgd", "ce", {}, N + 1, 0),
    ("apgd", "ce", {"restarts": 2, "protocol": "first_success"}, 2 * (N + 1), 0),
    ("apgd", "dlr", {"targets": 2}, 2 * (N + 1), 0),
    ("apgd", "dlr", {"targets": 9, "restarts": 2}, 4 * (N + 1), 0),
    ("fab", "margin", {}, N, N + 1),
    ("fab", "margin", {"targets": 2, "restarts": 2}, 4 * N, 4 * (N + 1)),
    ("fab", "margin", {"goal": "hypocritical"}, N, N + 1),
    ("square", "margin", {}, 0, N),
    ("square", "ce", {"restarts": 3}, 0, 3 * N),
]


@pytest.mark.parametrize(("search", "loss", "settings", "backwards", "queries"), COSTS)
def test_what_each_search_costs_an_example_that_it_cannot_fool(
    search, loss, settings, backwards, queries
) -> None:
    model = passes(search, loss, steps=N, **settings)
    assert model.backwards[0] == backwards
    assert model.queries[0] == queries
    assert model.forwards[0] == backwards + queries
    assert model.flat.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("goal", "targets", "gradients"),
    [("adversarial", 0, 3), ("adversarial", 2, 2), ("adversarial", 9, 3), ("hypocritical", 0, 1)],
)
def test_a_step_of_deepfool_costs_a_gradient_a_boundary(goal, targets, gradients) -> None:
    """Of one step, which leaves the label where it is: two questions, and one differentiated."""
    model = passes("deepfool", "margin", goal=goal, targets=targets, classes=4, steps=1)
    assert model.backwards[0] == gradients
    assert model.queries[0] == 2
    assert model.forwards[0] == 3


def test_counts_of_some_rows_are_kept_with_the_block() -> None:
    model = counted(smooth(3, (1, 3, 3), 1), images(3, (1, 3, 3), 1))
    part = model.select(torch.tensor([2, 0, 2])).select(torch.tensor([0, 2]))
    x = images(3, (1, 3, 3), 1)[[2, 2]].requires_grad_(True)
    part(x).sum().backward()
    assert model.forwards.tolist() == model.backwards.tolist() == [0, 0, 2]
    assert model.queries.tolist() == [0, 0, 0]
    assert part.rows.tolist() == [2, 2]
    assert torch.equal(part.logits_clean, model.logits_clean[[2, 2]])


def test_accounts_may_be_opened_for_a_part_of_a_larger_block() -> None:
    net, x = smooth(3, (1, 3, 3), 1), images(2, (1, 3, 3), 1)
    model = QueryCounter(net, net(x).detach(), torch.tensor([3, 1]), examples=5)
    with torch.no_grad():
        torch.testing.assert_close(model(x), net(x))
    assert model.forwards.tolist() == model.queries.tolist() == [0, 1, 0, 1, 0]
    assert model.backwards.tolist() == model.flat.tolist() == [0] * 5


def test_a_net_without_accounts_is_asked_for_its_clean_logits_and_never_narrowed() -> None:
    net, x = smooth(3, (1, 3, 3), 1), images(2, (1, 3, 3), 1)
    logits = clean_logits(net, x)
    assert torch.equal(logits, net(x).detach()) and not logits.requires_grad
    assert index_batch(net, torch.tensor([0])) is net
    model = counted(net, x)
    assert clean_logits(model, x) is model.logits_clean
    assert model.forwards.tolist() == [0, 0]
