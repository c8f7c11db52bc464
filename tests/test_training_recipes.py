"""Every constant of the papers' trainings: Tao et al. 2022, A.1 to A.3, and FastAT's."""

from dataclasses import replace

import pytest

from fftune.config import Augmentation, ThreatModel, TrainConfig, from_json, to_json
from fftune.errors import ConfigError
from fftune.recipes import Basis, TrainingData, trades_official, training
from fftune.registry import OBJECTIVES

CROP_AND_FLIP = Augmentation(crop_padding=4, flip=True)
CROP = Augmentation(crop_padding=4)

PAPER = {
    "cifar10": (110, 128, 0.1, (100, 105), CROP_AND_FLIP),
    "cifar100": (110, 128, 0.1, (100, 105), CROP_AND_FLIP),
    "svhn": (60, 128, 0.01, (50, 55), CROP),
    "tiny-imagenet": (60, 64, 0.1, (50, 55), CROP_AND_FLIP),
}


@pytest.mark.parametrize("data", PAPER)
@pytest.mark.parametrize("objective", ["standard", "pgd_at", "trades", "thrm"])
def test_the_papers_schedules(data: str, objective: str) -> None:
    epochs, batch, lr, milestones, augmentation = PAPER[data]
    config = training(objective, Basis(scale="full", data=data))
    settings = config.optimizer
    assert (settings.algorithm, settings.schedule, settings.decay) == ("sgd", "step", 0.1)
    assert (settings.epochs, settings.batch_size, settings.milestones) == (
        epochs,
        batch,
        milestones,
    )
    assert config.lr == settings.lr == lr
    assert (settings.momentum, settings.weight_decay, settings.decay_norm) == (0.9, 5e-4, True)
    assert config.augmentation == augmentation
    assert (config.model, config.width, config.precision) == ("resnet18", None, "fp32")
    assert (config.data.name, config.data.train_size, config.data.validation_size) == (
        data,
        None,
        0,
    )


@pytest.mark.parametrize("objective", ["pgd_at", "trades", "thrm"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
def test_the_papers_search(objective: str, norm, eps: float) -> None:
    """10 steps of eps / 4 from a random point of the ball."""
    attack = training(objective, Basis(scale="full", norm=norm)).attack
    assert (attack.search, attack.steps, attack.restarts, attack.start) == ("pgd", 10, 1, "uniform")
    assert (attack.threat.norm, attack.threat.eps, attack.step_length) == (norm, eps, eps / 4)


def test_lambda_is_six_unless_a_sweep_chooses() -> None:
    assert training("trades", Basis(scale="full")).lam == 6
    assert training("thrm", Basis(scale="full")).lam == 6
    assert training("pgd_at", Basis(scale="full")).lam == 0


@pytest.mark.parametrize(
    ("kind", "augmentation", "decay", "name"),
    [
        ("quality", CROP_AND_FLIP, 5e-4, "cifar10"),
        ("poisoning", CROP_AND_FLIP, 5e-4, "cifar10-poisoning"),
        ("helped", CROP_AND_FLIP, 5e-4, "cifar10-helped"),
        ("noise", Augmentation(), 0.0, "cifar10-noise"),
        ("mislabeling", Augmentation(), 0.0, "cifar10-mislabeling"),
    ],
)
def test_substandard_data(kind: TrainingData, augmentation, decay: float, name: str) -> None:
    """No augmentation and no weight decay on noise and mislabeling (A.1)."""
    config = training("standard", Basis(scale="full", kind=kind))
    assert config.augmentation == augmentation
    assert config.optimizer.weight_decay == decay
    assert config.data.name == name


def test_poisons_of_another_norm_are_other_data() -> None:
    """PoisoningLinf and PoisoningL2 in the authors' code."""
    for norm, name in (("linf", "cifar10-poisoning"), ("l2", "cifar10-poisoning-l2")):
        basis = Basis(scale="full", kind="poisoning", norm=norm)
        assert training("standard", basis).data.name == name
    assert training("standard", Basis(kind="noise", norm="l2")).data.name == "digits-noise"


def test_a_naive_net_is_not_trained() -> None:
    assert training("standard", Basis(scale="full", kind="naive")).optimizer.epochs == 0


@pytest.mark.parametrize(
    ("model", "kind", "paper", "code"),
    [
        ("mlp", "quality", 0.1, 0.01),
        ("mlp", "noise", 0.01, 0.01),
        ("mlp", "mislabeling", 0.01, 0.01),
        ("vgg16", "quality", 0.1, 0.1),
        ("vgg16", "noise", 0.01, 0.01),
        ("resnet18", "noise", 0.1, 0.1),
        ("wrn28_10", "quality", 0.1, 0.1),
    ],
)
def test_nets_that_start_slowly(model: str, kind: TrainingData, paper: float, code: float) -> None:
    for constants, lr in (("paper", paper), ("code", code)):
        basis = Basis(scale="full", model=model, kind=kind, constants=constants)
        assert training("standard", basis).lr == lr


def test_where_the_authors_code_differs() -> None:
    """Gaussian starts, l2 starts on the sphere, and a rate of .05 from lambda 10 on."""
    thrm = training("thrm", Basis(scale="full", constants="code"))
    assert (
        thrm.attack.start == training("trades", Basis(constants="code")).attack.start == "gaussian"
    )
    assert training("pgd_at", Basis(constants="code")).attack.start == "uniform"
    assert training("pgd_at", Basis(constants="code", norm="l2")).attack.start == "sphere"
    assert training("thrm", Basis(constants="code", norm="l2")).attack.start == "gaussian"
    assert [replace(thrm, lam=lam).lr for lam in (0.0, 5.0, 10.0, 100.0)] == [0.1, 0.1, 0.05, 0.05]
    paper = training("thrm", Basis(scale="full"))
    assert replace(paper, lam=100.0).lr == 0.1
    pgd_at = training("pgd_at", Basis(scale="full", constants="code"))
    assert replace(pgd_at, lam=100.0).lr == 0.1
    assert (thrm.constants, paper.constants) == ("code", "paper")


@pytest.mark.parametrize("objective", ["trades", "thrm"])
def test_the_codes_rate_from_lambda_ten_on_is_cifar10s_alone(objective: str) -> None:
    """The rule stands in the script of CIFAR-10, whichever of its data are trained on."""
    own = {"svhn": 0.01, "cifar100": 0.1, "tiny-imagenet": 0.1, "cifar10": 0.05}
    for data, lr in own.items():
        basis = Basis(scale="full", data=data, constants="code")
        assert replace(training(objective, basis), lam=10.0).lr == lr
    poisoned = training(objective, Basis(scale="full", kind="poisoning", constants="code"))
    assert replace(poisoned, lam=10.0).lr == 0.05


def test_trades_by_its_own_authors() -> None:
    """76 epochs, the last two at a tenth, wd 2e-4; ten steps of .007 in .031 from sigma .001."""
    config = trades_official(Basis(scale="full"))
    settings, attack = config.optimizer, config.attack
    assert (config.objective, config.lam, config.model) == ("trades", 6, "resnet18")
    assert (settings.epochs, settings.batch_size, settings.lr) == (76, 128, 0.1)
    assert (settings.schedule, settings.milestones, settings.decay) == ("step", (74,), 0.1)
    assert (settings.momentum, settings.weight_decay, settings.decay_norm) == (0.9, 2e-4, True)
    assert config.augmentation == CROP_AND_FLIP and config.data.name == "cifar10"
    assert (attack.threat, attack.steps) == (ThreatModel(eps=0.031), 10)
    assert (attack.step_size, attack.start) == (0.007, "narrow")
    tiny = trades_official(Basis())
    assert (tiny.data.name, tiny.optimizer.epochs, tiny.attack.start) == ("digits", 40, "narrow")


def test_trades_by_its_own_authors_is_for_linf_and_cifar10() -> None:
    with pytest.raises(ConfigError, match="norm must be linf in trades_official, got 'l2'"):
        trades_official(Basis(norm="l2"))
    with pytest.raises(ConfigError, match="data.name must be cifar10 in trades_official"):
        trades_official(Basis(scale="full", data="svhn"))


def test_fast_at_on_cifar10() -> None:
    """Wong et al. 2020: 15 epochs, one cycle up to .2, one step of 10/255 in a ball of 8/255."""
    config = training("fast_at", Basis(scale="full"))
    assert (config.optimizer.epochs, config.optimizer.batch_size) == (15, 128)
    assert config.optimizer.knots == ((0, 0.0), (7.5, 0.2), (15, 0.0))
    assert (config.optimizer.weight_decay, config.optimizer.decay_norm) == (5e-4, True)
    assert (config.attack.steps, config.attack.start) == (1, "uniform")
    assert config.attack.step_length == pytest.approx(10 / 255)
    assert config.precision == "bf16"


@pytest.mark.parametrize(("eps", "step"), [(2 / 255, 2.5 / 255), (4 / 255, 5 / 255)])
def test_fast_at_on_imagenet(eps: float, step: float) -> None:
    """Three phases, 0-6, 6-12, 12-15; crops of 128, 224, 288; batches of 512, 224, 128."""
    config = training("fast_at", Basis(scale="full", data="imagenet", eps=eps))
    phases = [(p.epochs, p.resized_crop, p.batch_size) for p in config.phases]
    assert phases == [(6, 128, 512), (6, 224, 224), (3, 288, 128)]
    settings = config.optimizer
    assert settings.epochs == 15
    assert settings.knots == ((0, 0.0), (1, 0.4), (6, 0.04), (12, 0.004), (15, 0.0004))
    assert (settings.weight_decay, settings.decay_norm, settings.momentum) == (1e-4, False, 0.9)
    assert (config.model, config.precision, config.augmentation.flip) == ("resnet50", "bf16", True)
    assert config.attack.threat.eps == eps
    assert config.attack.step_length == pytest.approx(step)
    assert (config.data.image_size, config.data.image_resize) == (288, False)


@pytest.mark.parametrize("kind", ["noise", "mislabeling", "poisoning", "naive"])
def test_phases_read_ordinary_images_and_no_others(kind: TrainingData) -> None:
    with pytest.raises(ConfigError, match=f"^kind must be quality for imagenet, got '{kind}'$"):
        training("standard", Basis(scale="full", data="imagenet", kind=kind))


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_a_training_can_be_rebuilt_from_its_json(objective: str, scale) -> None:
    config = training(objective, Basis(scale=scale))
    assert from_json(TrainConfig, to_json(config)) == config


def test_data_without_a_published_schedule_is_refused_at_full_scale() -> None:
    with pytest.raises(ConfigError, match="no full-scale recipe for 'mnist'; known: cifar10"):
        training("thrm", Basis(scale="full", data="mnist"))
