import pytest

from fftune import recipes
from fftune.config import PAPER_LAMBDAS
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
