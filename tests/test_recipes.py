import pytest
import torch

from fftune import recipes
from fftune.config import PAPER_LAMBDAS, Augmentation
from fftune.data.splits import split_rows
from fftune.errors import ConfigError


@pytest.mark.parametrize("name", ["thrm", "trades"])
def test_tiny_constants(name: str) -> None:
    config = recipes.find(name)("tiny")
    attack, optimizer, data = config.base.attack, config.base.optimizer, config.base.data
    assert (attack.threat.norm, attack.threat.eps, attack.steps) == ("linf", 0.15, 10)
    assert attack.step_length == 0.15 / 4
    assert attack.start == "uniform"
    assert config.battery.steps == 20
    assert (data.name, data.train_size, data.validation_size) == ("digits", 100, 500)
    assert (optimizer.epochs, optimizer.batch_size) == (40, 50)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 5e-4)
    assert config.lam == PAPER_LAMBDAS == (0, 1, 5, 10, 20, 40, 60, 80, 100)
    assert config.base.objective == name
    assert config.selection == "validation"


@pytest.mark.parametrize("scale", ["tiny", "small"])
def test_a_folder_of_ones_own_is_not_divided_as_the_digits_are(scale: recipes.Scale) -> None:
    def sizes(data: str | None) -> tuple[int | None, int | None]:
        found = recipes.training("standard", recipes.Basis(scale=scale, data=data)).data
        return found.train_size, found.validation_size

    said = (100, 500) if scale == "tiny" else (5000, 0)
    assert sizes(None) == sizes("mnist") == said
    assert sizes("folder:photos") == (None, None)


def test_a_recipe_of_ones_own(tmp_path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from fftune.recipes import thrm\n"
        "def recipe(scale):\n"
        "    return replace(thrm(scale), name='mine', trials=2)\n"
    )
    assert recipes.find(str(path))("tiny").trials == 2


def test_recipes_that_are_not_there(tmp_path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'thrm'"):
        recipes.find("thmr")
    with pytest.raises(ConfigError, match="no such file"):
        recipes.find("nowhere.py")
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(ConfigError, match="defines no function 'recipe'"):
        recipes.find(str(empty))


PUBLISHED = {
    "cifar10": (110, 128, 0.1, (100, 105), True),
    "cifar100": (110, 128, 0.1, (100, 105), True),
    "svhn": (60, 128, 0.01, (50, 55), False),
    "tiny-imagenet": (60, 64, 0.1, (50, 55), True),
    "cifar10-poisoning": (110, 128, 0.1, (100, 105), True),
}
"""Epochs, batch size, learning rate, milestones and flips of Tao et al. 2022, A.1, by data set."""


@pytest.mark.parametrize("name", ["thrm", "trades"])
@pytest.mark.parametrize("data", PUBLISHED)
def test_a_full_front_has_the_schedule_of_its_data(name: str, data: str) -> None:
    config = recipes.study(name, "full", data=data)
    optimizer, augmentation = config.base.optimizer, config.base.augmentation
    assert PUBLISHED[data] == (
        *(optimizer.epochs, optimizer.batch_size, optimizer.lr, optimizer.milestones),
        augmentation.flip,
    )
    assert (augmentation.crop_padding, optimizer.weight_decay) == (4, 5e-4)
    assert (config.base.model, config.base.objective, config.base.lam) == ("resnet18", name, 0)
    suffix = "" if data == "cifar10" else f"-{data}"
    assert (config.name, config.experiment) == (f"{name}-full{suffix}", f"{data}-full")
    assert config.base.data.name == data
    assert recipes.study(name, "full") == recipes.study(name, "full", data="cifar10")


@pytest.mark.parametrize(
    ("scale", "selection", "sizes"),
    [
        ("full", "validation", (None, 1000)),
        ("full", "test", (None, 0)),  # all 50,000, as published
        ("small", "validation", (4500, 500)),
        ("small", "test", (5000, 0)),
        ("tiny", "validation", (100, 500)),
        ("tiny", "test", (100, 0)),
    ],
)
def test_images_that_select_are_kept_back_only_where_they_do(scale, selection, sizes) -> None:
    config = recipes.study("thrm", scale, selection=selection)
    assert (config.base.data.train_size, config.base.data.validation_size) == sizes
    assert config.selection == selection


def test_every_image_of_an_official_training_part_trains() -> None:
    spec = recipes.study("trades", "full", selection="test").base.data
    parts = split_rows(torch.arange(50_000) % 10, spec, official_test=True)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 50_000, "validation": 0}


def test_noise_and_wrong_labels_train_plainly_by_their_names() -> None:
    for data in ("cifar10-noise", "svhn-mislabeling"):
        base = recipes.study("thrm", "full", data=data).base
        assert base.optimizer.weight_decay == 0 and base.augmentation == Augmentation()
    poisoned = recipes.study("thrm", "full", data="cifar10-poisoning-l2").base
    assert poisoned.data.name == "cifar10-poisoning-l2" and poisoned.augmentation.flip


def test_data_of_ones_own_have_the_schedule_of_cifar10() -> None:
    config = recipes.study("thrm", "full", data="folder:road-noise")
    assert config.base.optimizer == recipes.thrm("full").base.optimizer
    assert config.base.augmentation.flip and config.name == "thrm-full-folder-road-noise"


def test_small_svhn_is_not_mirrored() -> None:
    flips = {data: recipes.study("thrm", "small", data=data) for data in ("svhn", "cifar100")}
    assert {data: c.base.augmentation.flip for data, c in flips.items()} == {
        "svhn": False,
        "cifar100": True,
    }


def test_a_front_at_full_scale_takes_three_seeds_and_another_one() -> None:
    for name in recipes.FRONTS:
        seeds = {scale: recipes.find(name)(scale).seeds for scale in ("tiny", "small", "full")}
        assert seeds == {"tiny": 1, "small": 1, "full": 3}
