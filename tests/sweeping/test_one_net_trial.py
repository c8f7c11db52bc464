"""Fronts that are read off one training, or off two."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fftune.config import Conditioning, LambdaDraws, OptimizerConfig, StoppingConfig, SweepConfig
from fftune.errors import ConfigError
from fftune.models import load_model
from fftune.models.conditional import AtLambda
from fftune.models.specs import read_spec
from fftune.sweeping.cost import cost
from fftune.sweeping.one_net_trial import lengthened, slower
from fftune.sweeping.sweep import sweep
from fftune.training.checkpoint import read_checkpoint
from fftune.training.run_dir import RunDir

LAMS = (0.0, 3.0, 100.0)


def study(quick: SweepConfig, strategy: str, **changes: object) -> SweepConfig:
    return replace(quick, strategy=strategy, lam=LAMS, **changes)


def test_a_front_is_read_off_one_net(quick: SweepConfig, root: Path) -> None:
    base = replace(quick.base, draws=LambdaDraws(zeros=0.4, norms=1))
    front = sweep(study(quick, "one-net", base=base), root=root, backend="inline")

    place = root / "studies/quick/shared"
    assert [path.name for path in place.iterdir() if path.is_dir()] == [
        f"one-net-{quick.base.seed}"
    ]
    shared = place / f"one-net-{quick.base.seed}"
    whole = read_checkpoint(shared / "checkpoint", shared / "history.parquet")
    assert (whole.config.objective, whole.config.lam) == ("thrm_all", 100.0)
    assert whole.model.conditioning == Conditioning(top=100.0, norms=1)
    assert whole.config.optimizer.epochs == round(quick.base.optimizer.epochs * 2.5)
    x = torch.rand(4, 1, 8, 8)
    for number, lam in enumerate(LAMS):
        net = load_model(read_spec(root / f"studies/quick/trials/{number}/checkpoint"))
        expected = AtLambda(whole.model, torch.tensor(lam))(x)
        assert torch.allclose(net(x), expected, atol=1e-4)
    examples = quick.base.data.train_size * whole.config.optimizer.epochs
    assert [r.crafted for r in front.results] == [round(0.6 * examples), 0, 0]
    assert [r.lam for r in front.results] == list(LAMS)


@pytest.mark.slow
def test_a_soup_lies_between_a_net_and_the_one_that_was_tuned_from_it(
    quick: SweepConfig, root: Path
) -> None:
    front = sweep(study(quick, "soup"), root=root, backend="inline")

    place = root / "studies/quick/shared"
    first, second = (
        dict(RunDir(place / f"soup-{quick.base.seed}-{name}").finished().model.named_parameters())
        for name in ("first", "second")
    )
    share = torch.log1p(torch.tensor(3.0)) / torch.log1p(torch.tensor(100.0))
    for number, part in enumerate((0.0, float(share), 1.0)):
        net = load_model(read_spec(root / f"studies/quick/trials/{number}/checkpoint"))
        for name, weight in net.named_parameters():
            expected = (1 - part) * first[name] + part * second[name]
            assert torch.allclose(weight, expected, atol=1e-6)
    tuned = json.loads(
        (place / f"soup-{quick.base.seed}-second/checkpoint/config.json").read_text()
    )
    assert tuned["optimizer"]["lr"] == pytest.approx(0.1 * quick.base.optimizer.lr)
    assert tuned["init_model"] == str(place / f"soup-{quick.base.seed}-first/checkpoint")
    examples = quick.base.data.train_size * quick.base.optimizer.epochs
    assert [r.crafted for r in front.results] == [examples, 0, 0]


@pytest.mark.slow
def test_an_interrupted_study_goes_on_to_equal_rows(
    quick: SweepConfig, root: Path, tmp_path: Path, monkeypatch
) -> None:
    whole = sweep(study(quick, "one-net"), root=root, backend="inline")
    other = tmp_path / "other"
    other.mkdir()

    class DiedError(BaseException):
        pass

    from fftune.sweeping import one_net_trial

    leave, calls = one_net_trial._leave, []

    def dies(*arguments) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise DiedError
        leave(*arguments)

    monkeypatch.setattr(one_net_trial, "_leave", dies)
    with pytest.raises(DiedError):
        sweep(study(quick, "one-net"), root=other, backend="inline")
    trained = []
    monkeypatch.setattr(one_net_trial, "train_in", lambda *_: trained.append(1))
    front = sweep(study(quick, "one-net"), root=other, backend="inline", resume=True)

    assert not trained  # the shared training had ended
    counts = [[(r.lam, r.model_hash, r.test, r.crafted) for r in f.results] for f in (whole, front)]
    assert counts[0] == counts[1]


def test_the_cost_is_that_of_the_shared_trainings(quick: SweepConfig) -> None:
    one, soup, grid = (cost(study(quick, name)) for name in ("one-net", "soup", "grid"))

    epochs = quick.base.optimizer.epochs
    assert (one.trials, soup.trials, grid.trials) == (3, 3, 3)
    assert (one.epochs, soup.epochs, grid.epochs) == (round(2.5 * epochs), 2 * epochs, 3 * epochs)


def test_schedules_keep_their_shape() -> None:
    stepped = OptimizerConfig(epochs=10, schedule="step", milestones=(4, 8))
    assert lengthened(stepped, 2.5).milestones == (10, 20)
    linear = OptimizerConfig(epochs=4, schedule="linear", knots=((0, 0.0), (1, 0.2), (4, 0.0)))
    assert lengthened(linear, 2).knots == ((0, 0.0), (2, 0.2), (8, 0.0))
    assert slower(linear, 0.5).knots == ((0, 0.0), (1, 0.1), (4, 0.0))


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        ("one-net", {"objective": "pgd_at"}, "lambda of thrm or trades alone"),
        ("one-net", {"rungs": (1,)}, "without rungs"),
        ("one-net", {"variants": True}, "variants must be off"),
        ("soup", {"rungs": (1,)}, "without rungs"),
        ("one-net", {"model": "mlp"}, "objective needs a model with BatchNorm"),
    ],
)
def test_what_cannot_be_read_off_is_one_line(
    quick: SweepConfig, root: Path, strategy: str, changes, message: str
) -> None:
    own = {"stopping": StoppingConfig(rungs=changes.pop("rungs", ()))}
    own |= {"variants": changes.pop("variants", False)}
    base = replace(quick.base, **changes)

    with pytest.raises(ConfigError, match=message):
        sweep(study(quick, strategy, base=base, **own), root=root, backend="inline")
