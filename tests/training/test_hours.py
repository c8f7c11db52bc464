"""Hours by hand: operations of a net, passes of jobs, and cards side by side."""

from dataclasses import replace

import pytest

from fftune import recipes
from fftune.config import InputSpec, TrainConfig
from fftune.errors import ConfigError, ModelError
from fftune.models import make_model
from fftune.training.cost import Work, work
from fftune.training.flops import flops_of
from fftune.training.hours import Job, describe, makespan, told
from fftune.training.throughput import measure

CIFAR = InputSpec(shape=(3, 32, 32), classes=10, mean=(0.5,) * 3, std=(0.5,) * 3)
DIGITS = InputSpec(shape=(1, 8, 8), classes=10, mean=(0.5,), std=(0.5,))
SET = "synthetic:shape=3x32x32,classes=10,train=1280,test=10"


@pytest.fixture
def config() -> TrainConfig:
    """A THRM training of ResNet-18 in bf16, batch 128."""
    base = recipes.thrm("tiny").base
    data = replace(base.data, name=SET, train_size=None, validation_size=0)
    optimizer = replace(base.optimizer, batch_size=128, epochs=10**5)
    return replace(
        base, lam=6.0, model="resnet18", precision="bf16", data=data, optimizer=optimizer
    )


def test_operations_of_a_plain_net_by_hand() -> None:
    """Linear layers: two operations a weight, forward; as many for each gradient."""
    each = flops_of(TrainConfig(model="mlp", width=16), DIGITS)
    model = make_model("mlp", DIGITS, width=16)
    sizes = [p.numel() for p in model.parameters() if p.dim() == 2]
    assert each.forward == 2 * sum(sizes)
    assert each.craft == 4 * sum(sizes)
    assert each.joint == 4 * sum(sizes) + 2 * sum(sizes[1:])  # no gradient of the images


@pytest.mark.slow
def test_operations_of_the_published_nets() -> None:
    """0.56 and 5.2 billion multiplications with addition, as their papers have them."""
    resnet, wide = (flops_of(TrainConfig(model=m), CIFAR) for m in ("resnet18", "wrn28_10"))
    assert resnet.forward / 2e9 == pytest.approx(0.556, rel=0.01)
    assert wide.forward / 2e9 == pytest.approx(5.24, rel=0.01)
    assert resnet.craft == 2 * resnet.forward


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return x.flatten(1)[:, :10] if x.sum().item() > 0 else x.flatten(1)", "data-dependent"),
        ("raise ValueError('no images today')", "no images today"),
        ("return x.flatten(1)[:, :10]", "it multiplies no matrices"),
    ],
)
def test_a_net_that_cannot_be_counted_is_one_line(tmp_path, body: str, reason: str) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
        f"        {body}\n\ndef make():\n    return Net()\n"
    )
    with pytest.raises(ModelError) as refused:
        flops_of(TrainConfig(model=f"{file}:make"), DIGITS)
    message = str(refused.value)
    assert message.startswith(f"operations of model '{file}:make' cannot be counted: ")
    assert "\n" not in message
    assert reason in message or reason == "data-dependent"
    base = recipes.thrm("tiny").base
    assert describe(replace(base, model=f"{file}:make"), "h200").startswith("no hours: operations")


def test_work_of_a_training_by_hand(config: TrainConfig) -> None:
    seen = 10**5 * 1280
    steps = config.attack.steps
    assert work(config) == Work(crafts=steps * seen, joints=2 * seen)
    assert work(replace(config, lam=0.0)) == Work(joints=seen)
    trades = work(replace(config, objective="trades"))
    assert trades == Work(forwards=seen, crafts=steps * seen, joints=2 * seen)


@pytest.mark.slow
def test_hours_of_a_training_on_the_measured_card_by_hand(config: TrainConfig) -> None:
    each, done = flops_of(config, CIFAR), work(config)
    seconds = done.crafts * each.craft / 252e12 + done.joints * each.joint / 238e12
    text = describe(config, "h200")
    assert text.startswith(f"about 1 H200 {seconds / 3600:.2g} h\nfrom a prototype on one H200")
    assert "not from fftune's" in text
    # Half as fast where memory is: 3.35 of 4.8 TB/s, products alike.
    slow = seconds / 3600 * 4.8 / 3.35
    expected = f"estimate: 1 H100 {slow:.2g} h ({seconds / 3600:.2g} to {slow:.2g})\n"
    assert describe(config, "h100").startswith(expected)


def test_another_net_than_those_measured_is_an_estimate(config: TrainConfig) -> None:
    assert describe(replace(config, model="vgg16"), "h200").startswith("estimate: 1 H200 ")
    small = describe(replace(config, model="small_cnn"), "h200")
    assert small.endswith("launches, which nobody has measured, bind it rather than products")


def test_nine_equal_trials_on_four_cards_take_three_rounds() -> None:
    assert makespan([1.0] * 9, 4) == 3
    assert makespan([1.0] * 9, 9) == 1
    # Longest first: 7 | 5 + 2 | 4 + 3; in the order given 2 would delay 7.
    assert makespan([2.0, 3.0, 4.0, 5.0, 7.0], 3) == 7
    assert makespan([], 2) == 0


@pytest.mark.slow
def test_jobs_are_packed_not_divided(config: TrainConfig) -> None:
    jobs = [Job(training=work(config))] * 3
    alone = described_hours(told(jobs[:1], config, "h200", 1))
    assert described_hours(told(jobs, config, "h200", 2)) == pytest.approx(2 * alone, rel=0.05)
    assert described_hours(told(jobs, config, "h200", 3)) == pytest.approx(alone, rel=0.05)


def described_hours(text: str) -> float:
    return float(text.split(" h")[0].split()[-1])


def test_a_training_of_several_workers_takes_as_many_cards(config: TrainConfig) -> None:
    both = replace(config, workers=2)
    jobs = [Job(training=work(both))]
    assert "2 H200s" in told(jobs, both, "h200", None)
    with pytest.raises(ConfigError, match="cards must be >= 2, the workers, got 1"):
        told(jobs, both, "h200", 1)


@pytest.mark.slow
def test_the_device_at_hand_is_measured_within_two_seconds(config: TrainConfig) -> None:
    rate = measure(config, CIFAR, flops_of(config, CIFAR))
    assert rate.device == "cpu" and rate.images == 1 and 1 <= rate.n <= 5
    assert 1e8 < rate.flops < 1e13
    text = describe(recipes.thrm("tiny").base)
    assert "measured here on cpu, threads 1, fp32: " in text
    assert "--on h200" in text


def test_one_pass_is_timed_where_there_is_no_time(config: TrainConfig, monkeypatch) -> None:
    """To build a net, or to start threads, can take longer than the measurement may."""
    monkeypatch.setattr("fftune.training.throughput.SECONDS", 0)
    rate = measure(replace(config, model="small_cnn"), CIFAR, flops_of(config, CIFAR))
    assert rate.n == 1 and rate.flops > 0
