"""What declarations become: published settings at full scale, stand-ins at the others."""

import pytest

from fftune.data.catalog import load
from fftune.errors import ConfigError
from fftune.papers.declarations import Net, Setup, Substandard
from fftune.papers.scales import (
    TINY_IMAGES,
    ball_of,
    config_of,
    examples_of,
    images_of,
    lambdas_of,
    poisoner,
    seeds_of,
)


@pytest.mark.parametrize(
    ("data", "epochs", "batch", "lr", "milestones"),
    [
        ("cifar10", 110, 128, 0.1, (100, 105)),
        ("cifar100", 110, 128, 0.1, (100, 105)),
        ("svhn", 60, 128, 0.01, (50, 55)),
        ("tiny-imagenet", 60, 64, 0.1, (50, 55)),
    ],
)
def test_full_scale_is_as_published_on_all_images(data, epochs, batch, lr, milestones) -> None:
    config = config_of(Net(data=data, objective="trades", lam=6.0), "full")
    optimizer = config.optimizer
    assert (optimizer.epochs, optimizer.batch_size, optimizer.lr) == (epochs, batch, lr)
    assert optimizer.milestones == milestones and optimizer.weight_decay == 5e-4
    assert (config.model, config.width, config.lam) == ("resnet18", None, 6.0)
    assert (config.data.name, config.data.train_size, config.data.validation_size) == (
        data,
        None,
        0,
    )
    assert config.attack.threat.eps == 8 / 255 and config.attack.steps == 10


def test_noise_and_mislabeling_train_slowly_where_the_paper_does() -> None:
    vgg = config_of(Net(model="vgg16", kind="mislabeling"), "full")
    assert (vgg.lr, vgg.optimizer.weight_decay, vgg.augmentation.flip) == (0.01, 0.0, False)
    assert config_of(Net(kind="mislabeling"), "full").lr == 0.1
    assert config_of(Net(model="vgg16", kind="poisoning"), "full").lr == 0.1


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_a_net_that_was_not_trained_has_no_epochs(scale) -> None:
    assert config_of(Net(kind="naive"), scale).optimizer.epochs == 0


@pytest.mark.parametrize("model", ["mlp", "vgg16", "resnet18", "wrn28_10"])
def test_tiny_takes_each_keys_own_kind_of_net(model) -> None:
    config = config_of(Net(model=model), "tiny")
    assert config.model == model and config.width in (8, 128)
    side = load(config.data, "train").shape[-1]
    assert side == (32 if model == "vgg16" else 8)


def test_stand_ins_have_as_many_classes_as_they_say() -> None:
    classes = {
        name: len(load(images, "test").source.classes) for name, images in TINY_IMAGES.items()
    }
    assert classes == {
        "cifar10": 10,
        "svhn": 10,
        "cifar100": 20,
        "tiny-imagenet": 40,
        "imagenet": 10,
    }
    with pytest.raises(ConfigError, match="data must be one of cifar10"):
        images_of("mnist", "resnet18", "tiny")


def test_balls_follow_the_scale() -> None:
    assert ball_of("linf", "full").eps == 8 / 255 and ball_of("l2", "full").eps == 0.5
    assert ball_of("linf", "tiny").eps == 0.15 and ball_of("l2", "tiny").eps == 0.5
    assert ball_of("linf", "tiny", 4 / 255).eps == pytest.approx(0.075)
    assert ball_of("linf", "small", 4 / 255).eps == 4 / 255


def test_poisons_are_made_on_one_natural_net_of_the_data() -> None:
    for model in ("mlp", "resnet18", "wrn28_10"):
        data = Substandard(data="cifar10", kind="poisoning", model=model)
        assert poisoner(data, "tiny") == poisoner(data, "full") == Net()
    vgg = Substandard(data="cifar10", kind="poisoning", model="vgg16")
    assert poisoner(vgg, "tiny") == Net(model="vgg16") and poisoner(vgg, "full") == Net()


def test_seeds_and_sizes_can_be_asked_for() -> None:
    assert seeds_of(Setup(scale="full")) == (0, 1, 2, 3, 4)
    assert seeds_of(Setup(scale="full", seeds=1)) == (0,)
    assert len(lambdas_of(Setup(scale="full"))) == 9 and 0.0 in lambdas_of(Setup(scale="small"))
    assert examples_of("all", "full") is None and examples_of("few", "tiny") == 48
