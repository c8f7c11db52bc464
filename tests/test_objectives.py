import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from fftune.config import TrainConfig, from_json, to_json
from fftune.errors import ConfigError
from fftune.objectives import Crafting, cross_entropy, find_objective, thrm, trades

Y = torch.tensor([0, 2, 1])


@pytest.fixture
def logits(rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    draw = lambda: torch.randn(3, 4, dtype=torch.float64, generator=rng)  # noqa: E731
    return draw().requires_grad_(), draw().requires_grad_()


def definition(logits: torch.Tensor, logits_pert: torch.Tensor, lam: float) -> torch.Tensor:
    """CE + lam * KL(p || q), written out, the mean over the batch."""
    p, q = logits.softmax(1), logits_pert.softmax(1)
    ce = -p[torch.arange(3), Y].log()
    kl = (p * (p / q).log()).sum(1)
    return (ce + lam * kl).mean()


@pytest.mark.parametrize("objective", ["thrm", "trades"])
@pytest.mark.parametrize("lam", [1e-9, 1.0, 3.0])
def test_value_and_gradients_are_those_of_the_definition(objective, lam, logits) -> None:
    """The clean half comes first; the gradient flows through p as well: no detaching."""
    value = find_objective(objective).at(lam).value(torch.cat(logits), Y, lam=lam)
    torch.testing.assert_close(value, definition(*logits, lam))
    found = torch.autograd.grad(value, logits)
    expected = torch.autograd.grad(definition(*logits, lam), logits)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    if lam > 1:
        swapped = definition(logits[1], logits[0], lam)
        assert value.item() != pytest.approx(swapped.item(), rel=0.01)


@pytest.mark.parametrize("objective", [thrm, trades])
@pytest.mark.parametrize("lam", [0.5, 20.0])
def test_gradients_numerically(objective, lam, logits) -> None:
    value = objective(*logits, Y, lam=lam)
    torch.testing.assert_close(value, definition(*logits, lam))
    assert torch.autograd.gradcheck(lambda a, b: objective(a, b, Y, lam=lam), logits)


@pytest.mark.parametrize("objective", ["standard", "pgd_at", "fast_at", "thrm", "trades"])
def test_without_a_second_term_it_is_the_cross_entropy_of_all_logits(objective, logits) -> None:
    """By name, or because lambda is 0; of uniform logits it is log K."""
    value = find_objective(objective).at(0).value(logits[0], Y, lam=0.0)
    torch.testing.assert_close(value, definition(logits[0], logits[0], 0.0))
    assert cross_entropy(torch.zeros(3, 4), Y).item() == pytest.approx(torch.tensor(4.0).log())


def test_the_hinge_needs_a_threshold_that_logits_do_not_have(logits) -> None:
    linf_dist = find_objective("linf_dist")
    with pytest.raises(ConfigError, match="this one has only hooks"):
        linf_dist.value(logits[0], Y, lam=0.0)
    assert (linf_dist.crafting, linf_dist.needs_model) == (None, "linf_dist")


def crafting(name: str, lam: float) -> Crafting | None:
    return find_objective(name).at(lam).crafting


def test_what_each_objective_crafts() -> None:
    assert crafting("standard", 0) is None
    assert crafting("thrm", 0) is None
    assert crafting("trades", 0) is None
    goals = {name: crafting(name, 1) for name in ("pgd_at", "fast_at", "trades", "thrm")}
    assert {name: (c.goal, c.loss, c.joint) for name, c in goals.items() if c} == {
        "pgd_at": ("adversarial", "ce", False),
        "fast_at": ("adversarial", "ce", False),
        "trades": ("stability", "kl", True),
        "thrm": ("hypocritical", "ce", True),
    }
    assert crafting("pgd_at", 0) is not None
    assert crafting("thrm", 1e-9) is not None


OWN = """
import torch.nn.functional as F
from fftune.objectives import Crafting, ObjectiveSpec

def mine(logits, logits_pert, y, *, lam):
    return F.cross_entropy(logits, y) + lam * F.mse_loss(logits, logits_pert)

mine.crafting = Crafting("hypocritical", "ce", joint=True)
RECORD = ObjectiveSpec(loss=mine, crafting=Crafting("stability", "kl", joint=True))
number = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_function_of_a_users_file_counts_lambda(own) -> None:
    spec = find_objective(f"{own}:mine")
    assert spec.weighted and spec.crafting == Crafting("hypocritical", "ce", joint=True)
    assert spec.at(0.0) is find_objective("standard")
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3)
    value = spec.value(torch.cat([logits, 0 * logits]), Y, lam=2.0)
    assert float(value) == pytest.approx(float(cross_entropy(logits, Y)) + 2 / 4)


def test_a_record_of_a_users_file_is_taken_as_it_is(own) -> None:
    spec = find_objective(f"{own}:RECORD")
    assert not spec.weighted and spec.crafting == Crafting("stability", "kl", joint=True)


def test_what_is_no_objective_is_refused(own) -> None:
    with pytest.raises(ConfigError, match="must be an ObjectiveSpec or a function, got int"):
        find_objective(f"{own}:number")
    with pytest.raises(ConfigError, match="did you mean 'thrm'"):
        find_objective("thrmm")


def test_lambda_is_asked_for_where_it_counts(own) -> None:
    for name in ("thrm", "trades", f"{own}:mine"):
        with pytest.raises(ConfigError, match="^lam must be given for objective"):
            TrainConfig(objective=name)
        assert TrainConfig(objective=name, lam=0.0).lam == 0
    for name in ("standard", "pgd_at", f"{own}:RECORD"):
        assert TrainConfig(objective=name).lam == 0


def test_a_name_is_checked_and_made_absolute_without_running_a_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(objective="no.py:such", lam=1.0)
    assert config.objective == f"{tmp_path}/no.py:such"
    with pytest.raises(ConfigError, match="objective .*did you mean 'thrm'"):
        TrainConfig(objective="thrmm", lam=1.0)
    with pytest.raises(ConfigError, match="objective 'linf_dist' needs model 'linf_dist'"):
        TrainConfig(objective="linf_dist")


def test_settings_of_0_1_0_are_read(own) -> None:
    """Then the l_inf-distance net's objective was called "hinge"."""
    config = replace(TrainConfig(), objective="linf_dist", model="linf_dist")
    old = to_json(config).replace('"objective": "linf_dist"', '"objective": "hinge"')
    assert "hinge" in old and from_json(TrainConfig, old) == config
    assert from_json(TrainConfig, to_json(config)) == config


def test_the_table_is_read_without_torch() -> None:
    code = (
        "import sys; from fftune.objectives import find_objective;"
        "from fftune.registry import OBJECTIVES; [find_objective(name) for name in OBJECTIVES];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
