"""Points crafted on other nets: on linear nets it is known on which images they transfer."""

import pickle
from dataclasses import replace

import pytest
import torch
from subjects import job_of, rows_of
from torch import Tensor, nn

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.data import Dataset, Source
from fftune.errors import ConfigError, ModelError
from fftune.evaluation.block_cache import BlockCache
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.job import EvalJob, model_under_test, under_test
from fftune.evaluation.question import questions_of
from fftune.evaluation.transfer import Transfer
from fftune.models import load_model
from fftune.models.specs import named_spec
from fftune.outcomes import Outcomes
from fftune.risk import UnionCounts

EPS = 0.1
NETS = """
import torch
from torch import nn


class Linear(nn.Module):
    "Class 1 where a weighted sum of three pixels is more than that of halves."

    def __init__(self, *weights, classes=2):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([*weights, 0.0]))
        self.classes = classes

    def forward(self, x):
        lead = (x.flatten(1) - 0.5) @ self.weights
        return torch.stack([torch.zeros_like(lead), lead, *[lead - 9] * (self.classes - 2)], 1)


class Deaf(Linear):
    "A net of which no gradient tells anything."

    def forward(self, x):
        return super().forward(x.detach()) + 0 * x.flatten(1).sum(1, keepdim=True)


def same():
    return Linear(5.0, 5.0, 5.0)


def deaf():
    return Deaf(5.0, 5.0, 5.0)


def alike():
    return Linear(5.0, 1.0, 3.0)


def unlike():
    return Linear(5.0, -1.0, 3.0)


def opposed():
    return Linear(5.0, -1.0, -1.0)


def three():
    return Linear(5.0, 5.0, 5.0, classes=3)


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(9, 2)

    def forward(self, x):
        return self.fc(x.flatten(1))


def wide():
    return Wide()
"""
SHIFTS = {"alike": 3, "unlike": 1, "opposed": -1}
"""Pixels that a net moves as `same` would, less those that it moves the other way."""


@pytest.fixture
def nets(tmp_path):
    """Spelling of a net of this file, by its function."""
    (tmp_path / "nets.py").write_text(NETS)
    return lambda name: f"{tmp_path}/nets.py:{name}"


@pytest.fixture
def images() -> Dataset:
    """Of three pixels each; the sum of the net under test rises from image to image; y is 1."""
    pixels = torch.full((16, 1, 2, 2), 128, dtype=torch.uint8)
    sums = 1.5 + EPS * torch.linspace(-4.5, 4.5, 16)
    pixels.view(16, 4)[:, :3] = (255 * sums / 3).round().byte()[:, None]
    source = Source(name="dots", classes=("low", "high"), mean=(0.5,), std=(0.5,))
    ids, y = torch.arange(16) + 3, torch.ones(16, dtype=torch.int64)
    return Dataset(source=source, split="test", ids=ids, pixels=pixels, y=y)


def settings(*places: str, **more) -> BatteryConfig:
    return BatteryConfig(
        name="ensemble", tier="screen", transfer=places, precision="fp32", device="cpu", **more
    )


def rows_named(rows: Outcomes, attack: str, goal: str) -> list[bool]:
    return rows.where(attack=attack, goal=goal).to_pandas().sort_values("id")["success"].tolist()


def is_high(images: Dataset, shift: float = 0) -> Tensor:
    """(16,) bool, the net under test's answers where its sum is moved by so many eps."""
    return (images.pixels.flatten(1)[:, :3].double() / 255).sum(1) + shift * EPS > 1.5


def transfers_alone(net: nn.Module, images: Dataset, battery: BatteryConfig, **more) -> EvalJob:
    job = job_of(net, images, battery, threat=ThreatModel(eps=EPS), **more)
    return replace(job, attacks=tuple(a for a in job.attacks if isinstance(a, Transfer)))


def test_an_adversarys_points_transfer_just_where_arithmetic_says(nets, images) -> None:
    """The best point of a linear net moves each pixel by eps, against the sign of its weight."""
    net = load_model(named_spec(nets("same")))
    job = transfers_alone(net, images, settings(*map(nets, SHIFTS)))
    rows, right = rows_of(model_under_test(net, job), job), is_high(images)
    for other, shift in SHIFTS.items():
        known = ~right | ~is_high(images, -shift)  # a mistake is one from the start
        assert rows_named(rows, f"transfer-{other}", "adversarial") == known.tolist()
        assert int((known & right).sum()) == {3: 5, 1: 2, -1: 0}[shift]


def test_a_false_friends_points_are_for_the_mistakes_of_the_net_under_test(nets, images) -> None:
    net = load_model(named_spec(nets("same")))
    battery = replace(settings(*map(nets, SHIFTS)), name="hypocritical")
    job = transfers_alone(net, images, battery)
    rows, right = rows_of(model_under_test(net, job), job), is_high(images)
    for other, shift in SHIFTS.items():
        moved = is_high(images, shift)
        assert rows_named(rows, f"transfer-{other}", "hypocritical") == (right | moved).tolist()
        assert int((moved & ~right).sum()) == {3: 5, 1: 2, -1: 0}[shift]
        frame = rows.where(attack=f"transfer-{other}").to_pandas().sort_values("id")
        assert ((frame["forwards"] > 0) == (~right).numpy()).all()  # right answers cost nothing
    assert rows.values("protocol") == {"best_loss"} and rows.values("tier") == {"screen"}


def test_the_worst_case_of_a_net_without_gradients_holds_what_transfers(nets, images) -> None:
    """No gradient search sees anything there; an honest net of another file does."""
    net = load_model(named_spec(nets("deaf")))
    job = transfers_alone(net, images, settings(nets("same")))
    (attack,) = job.attacks
    assert not attack.needs_gradients and not attack.is_ensemble and not attack.is_plain
    rows = rows_of(model_under_test(net, job), job)
    assert rows.values("status") == {"ok"}
    fooled = is_high(images) & ~is_high(images, -3)
    assert UnionCounts.of(rows, split="test").fooled == int(fooled.sum()) > 0


def test_a_job_that_has_travelled_has_the_same_rows_also_behind_a_defense(nets, images) -> None:
    """The weights of the other net go with it: no worker has its file."""
    net = load_model(named_spec(nets("same")))
    defense = DefenseConfig(names=("random",), repeats=2)
    job = transfers_alone(net, images, settings(nets("alike")), defense=defense)
    there = pickle.loads(pickle.dumps(job))
    here, far = (rows_of(model_under_test(net, one), one) for one in (job, there))
    assert here.table.equals(far.table)
    assert len(here.where(defense="random")) == 2 * len(images)


def test_nets_of_one_name_are_numbered_and_those_of_other_weights_cached_apart(
    nets, images, tmp_path
) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again/nets.py").write_text(NETS)
    net, other = load_model(named_spec(nets("same"))), f"{tmp_path}/again/nets.py:alike"
    jobs = [
        job_of(net, images, settings(*places), threat=ThreatModel(eps=EPS))
        for places in ((nets("alike"), other), (nets("unlike"),))
    ]
    names = [[one.name for one in job.attacks if isinstance(one, Transfer)] for job in jobs]
    assert names == [["transfer-alike", "transfer-alike-2"], ["transfer-unlike"]]
    text = NETS.replace("Linear(5.0, 1.0, 3.0)", "Linear(5.0, 1.0, 2.0)")
    (tmp_path / "again/nets.py").write_text(text)
    jobs.append(job_of(net, images, settings(other), threat=ThreatModel(eps=EPS)))
    one, weaker = (next(a for a in job.attacks if isinstance(a, Transfer)) for job in jobs[::2])
    assert (one.name, one.stages) == (weaker.name, weaker.stages)
    paths = {
        BlockCache(tmp_path, job, "", "cpu")._path(job.tasks(attack)[0])
        for job, attack in zip(jobs[::2], (one, weaker), strict=True)
    }
    assert len(paths) == 2


def test_points_of_a_net_in_memory_are_those_of_its_file_and_it_is_left_as_it_was(
    nets, images
) -> None:
    net, spec = load_model(named_spec(nets("same"))), named_spec(nets("alike"))
    other = load_model(spec).train().requires_grad_()
    job = transfers_alone(
        net, images, settings(nets("alike")), others=(("mine", other), ("alike", spec))
    )
    names = [one.name for one in job.attacks]
    assert names == ["transfer-alike", "transfer-mine", "transfer-alike-2"]
    with under_test(net, job) as subject:
        assert not other.training and not other.weights.requires_grad
        rows = rows_of(subject, job)
    assert other.training and other.weights.requires_grad and other.weights.grad is None
    read, mine, told = (
        rows.where(attack=name).to_pandas()[["id", "pred_pert", "success", "distance"]]
        for name in names
    )
    assert read.equals(mine) and read.equals(told) and mine["success"].any()


def test_blocks_beside_a_net_in_memory_are_not_kept(nets, images, tmp_path) -> None:
    spec = named_spec(nets("alike"))
    for other, kept in ((load_model(spec), False), (spec, True)):
        evaluate(
            *(named_spec(nets("same")), images, settings()),
            threat=ThreatModel(eps=EPS),
            wanted="transfer-other".__eq__,
            others=(("other", other),),
            root=tmp_path,
        )
        assert bool([*tmp_path.glob("blocks/*/*.parquet")]) == kept


def test_actors_have_no_net_in_memory(nets, images) -> None:
    other = load_model(named_spec(nets("alike")))
    with pytest.raises(ConfigError, match=r"backend must be 'inline' .* got 'ray' \(mine\)"):
        evaluate(
            *(named_spec(nets("same")), images, settings()),
            threat=ThreatModel(eps=EPS),
            backend="ray",
            others=(("mine", other),),
        )


def test_the_entrance_prints_and_asks_of_the_other_nets_too(nets, images) -> None:
    found = {
        places: evaluate(
            named_spec(nets("same")), images, settings(*places), threat=ThreatModel(eps=EPS)
        )
        for places in ((), (nets("alike"),))
    }
    alone, (question,) = found[()], questions_of(found[(nets("alike"),)])
    assert "transfer-alike" in question.attacks
    assert question.suite != questions_of(alone)[0].suite
    unions = [UnionCounts.of(rows, split="test") for rows in found.values()]
    assert unions[0].fooled <= unions[1].fooled and unions[0].total == unions[1].total == 16


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("three", ModelError, "net tells 3 classes apart, dots has 2$"),
        ("wide", ModelError, "battery.transfer '.*:wide': net does not take "),
        ("missing", ModelError, "battery.transfer '.*:missing': "),
    ],
)
def test_a_net_that_does_not_fit_is_one_line(name, error, said, nets, images) -> None:
    net = load_model(named_spec(nets("same")))
    with pytest.raises(error, match=said) as caught:
        job_of(net, images, settings(nets(name)), threat=ThreatModel(eps=EPS))
    assert "\n" not in str(caught.value)
    if name != "missing":
        other = load_model(named_spec(nets(name)))
        with pytest.raises(error, match=said.replace("battery.transfer '.*:wide'", "transfer 'w'")):
            job_of(net, images, settings(), threat=ThreatModel(eps=EPS), others=(("w", other),))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("resnet50", "battery.transfer must name nets with weights"),
        ("resnt50", "battery.transfer: unknown model 'resnt50'; did you mean 'resnet50'"),
    ],
)
def test_an_architecture_has_no_weights(place, said, images) -> None:
    with pytest.raises(ConfigError, match=said):
        job_of(nn.Identity(), images, settings(place), threat=ThreatModel(eps=EPS))
