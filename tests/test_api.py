"""The public API: names, nets and data in every form, results, and errors in one line."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fftune as ff
from fftune.errors import ConfigError, DataError, ModelError
from tests.brief import BRIEF
from tests.forked import forked
from tests.test_layers import PACKAGE, ROOT, modules

EPS = 0.1


class TwoClass(nn.Module):
    """Logits (0, w . x): l_inf attacks are won exactly where |w . x| < eps * |w|_1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -1.0, 1.0, -1.0]))

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight
        return torch.stack([torch.zeros_like(score), score], 1)


# Scores 0.2, -0.2, 1, -1 twice; |w|_1 = 4, so that eps 0.1 moves a score by 0.4.
X = torch.tensor([[0.7, 0.5, 0.5, 0.5], [0.5, 0.7, 0.5, 0.5], [0.9, 0.4, 0.9, 0.4]])
X = torch.cat([X, 1 - X[2:]]).view(4, 1, 2, 2).repeat(2, 1, 1, 1)
Y = torch.tensor([1, 0, 1, 0, 0, 1, 0, 1])  # four right, then four wrong


@pytest.fixture(scope="module")
def result() -> ff.Evaluation:
    return ff.evaluate(TwoClass(), (X, Y), eps=EPS, steps=20)


def test_risks_are_the_closed_form(result: ff.Evaluation) -> None:
    risks = result.risks()
    assert (risks.natural_risk.count, risks.natural_risk.n) == (4, 8)
    assert (risks.adversarial_risk.count, risks.adversarial_risk.n) == (2, 4)
    assert (risks.hypocritical_risk.count, risks.hypocritical_risk.n) == (2, 4)
    assert (risks.robust_accuracy.count, risks.robust_accuracy.n) == (2, 8)
    assert (risks.stability_risk_all.count, risks.stability_risk_all.n) == (4, 8)
    low, high = risks.hypocritical_risk.interval
    assert (round(low, 3), round(high, 3)) == (0.150, 0.850)  # Wilson's for 2 of 4


def test_results_are_shown_as_frame_text_and_html(result: ff.Evaluation) -> None:
    frame = result.frame()
    assert len(frame) == 16 and set(frame["goal"]) == {"adversarial", "hypocritical"}
    risks = result.risks()
    assert risks.frame().loc["hypocritical_risk", "value"] == 0.5
    assert list(risks) == [*dict(risks)] and "hypocritical_risk" in risks
    text = repr(risks)
    assert "TwoClass on tensors, test: n = 8 of 8; linf, eps 0.1" in text
    assert "hypocritical_risk   50.0% (95 % CI 15.0% to 85.0%, n = 4)" in text
    assert "<td>2 of 4</td>" in risks._repr_html_() and "<table" in result._repr_html_()
    assert "pgd-20" in repr(result)
    assert result.rates()["worst_case/hypocritical_risk"] == risks.hypocritical_risk
    inflation = result.rates()["worst_case/inflation"]
    assert risks.inflation == inflation
    assert (inflation.count, inflation.n) == (risks.hypocritical_risk.count, risks.natural_risk.n)


def test_names_in_html_are_escaped(result: ff.Evaluation) -> None:
    from dataclasses import replace

    assert "<b>" not in replace(result.risks(), about="<b>")._repr_html_()


@pytest.mark.parametrize("form", ["ids", "loader", "bytes", "numpy", "shuffled"])
def test_data_in_memory_have_many_forms(result: ff.Evaluation, form: str) -> None:
    ids = torch.arange(8)
    order = torch.tensor([3, 1, 7, 0, 6, 2, 5, 4])
    data = {
        "ids": (ids, X, Y),
        "loader": DataLoader(TensorDataset(X, Y), batch_size=3),
        "bytes": ((X * 255).round().to(torch.uint8), Y),
        "numpy": (X.numpy(), Y.numpy()),
        "shuffled": (ids[order], X[order], Y[order]),
    }[form]
    again = ff.evaluate(TwoClass(), data, eps=EPS, steps=20)
    columns = ["id", "goal", "y", "pred_clean", "pred_pert", "success"]
    assert again.frame()[columns].equals(result.frame()[columns])


def test_pixels_that_are_no_bytes_stay_what_they_are() -> None:
    from fftune.data.in_memory import dataset_of

    x = torch.rand(3, 1, 2, 2)
    _, batch, _ = next(dataset_of((x, torch.zeros(3, dtype=torch.int64))).batches(3))
    assert torch.equal(batch, x)
    stored = dataset_of((torch.tensor([7, 255]).div(255).view(2, 1, 1, 1), torch.tensor([0, 1])))
    assert stored.pixels.flatten().tolist() == [7, 255]


def test_examples_are_spread_over_ids() -> None:
    few = ff.evaluate(TwoClass(), (X, Y), eps=EPS, examples=4)
    assert sorted(set(few.frame()["id"])) == [0, 2, 4, 6]


def test_a_defended_net_has_risks_of_its_own() -> None:
    defense = ff.DefenseConfig(**BRIEF, names=("random",))
    found = ff.evaluate(TwoClass(), (X, Y), eps=EPS, steps=2, defense=defense)
    assert found.risks("random").natural_risk.n == 8
    assert "behind random" in repr(found.risks("random"))
    with pytest.raises(DataError, match="defense 'hedge' was not evaluated; known: none, random"):
        found.risks("hedge")


def test_several_seeds_of_the_attackers_stand_beside_the_first() -> None:
    found = ff.evaluate(TwoClass(), (X, Y), eps=EPS, steps=2, seed=3, seeds=2)
    (again,) = found.others
    assert found.outcomes.values("seed") == {3} and again.values("seed") == {4}
    alone = ff.evaluate(TwoClass(), (X, Y), eps=EPS, steps=2, seed=4)
    assert again.table.equals(alone.outcomes.table)
    spread = found.seed_spreads()["worst_case/accuracy"]
    first, second = found.risks().robust_accuracy, alone.risks().robust_accuracy
    assert spread.rates == {3: first, 4: second}
    assert "worst case under attack seeds 3, 4:" in repr(found)
    assert "attack seeds" not in repr(alone) and alone.others == ()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ff.train(None), "recipe must be a name, got None"),
        (lambda: ff.sweep(7), "recipe 7 does not exist; known: hedge, thrm, trades"),
        (lambda: evaluated(battery=7), "battery must be a name or a BatteryConfig, got 7"),
        (lambda: evaluated(data=(X.to_sparse(), Y)), "x must be a dense tensor"),
        (lambda: evaluated(data=(X, Y.to_sparse())), "y must be a dense tensor"),
    ],
)
def test_an_argument_of_another_type_is_told(call: Callable[[], object], told: str) -> None:
    with pytest.raises(ff.FftuneError, match=f"^{told}"):
        call()


def evaluated(**others: Any) -> ff.Evaluation:
    return ff.evaluate(TwoClass(), **{"data": (X, Y), "eps": EPS, "steps": 0, **others})


def test_points_transfer_from_nets_in_memory() -> None:
    """From the net itself, all that can be fooled are; a module that is a sequence is one net."""
    other = nn.Sequential(TwoClass())
    found = ff.evaluate(TwoClass(), (X, Y), eps=EPS, steps=0, transfer=other)
    rows = found.outcomes.where(attack="transfer-Sequential", goal="adversarial")
    won = rows.to_pandas().set_index("id")["success"]
    assert won[won].index.tolist() == [0, 1, 4, 5, 6, 7]  # the last four are mistakes
    assert found.risks().adversarial_risk.count == 2


@pytest.fixture(scope="module")
def checkpoint() -> ff.Checkpoint:
    return ff.train("thrm", lam=5, settings={"optimizer.epochs": 1})


def test_train_gives_a_net_that_evaluate_takes(checkpoint: ff.Checkpoint, tmp_path: Path) -> None:
    assert checkpoint.config.lam == 5 and len(checkpoint.history) == 1
    found = ff.evaluate(checkpoint, examples=20, steps=1)
    assert "digits, test: n = 20 of" in repr(found.risks()) and "eps 0.15" in repr(found.risks())
    checkpoint.save(tmp_path / "checkpoint")
    again = ff.evaluate(tmp_path / "checkpoint", examples=20, steps=1)
    assert again.frame()["pred_pert"].equals(found.frame()["pred_pert"])
    weights = tmp_path / "checkpoint" / "weights.pt"
    named = ff.evaluate("small_cnn", "digits", eps=0.15, weights=weights, examples=20, steps=1)
    assert named.frame()["pred_pert"].equals(found.frame()["pred_pert"])


def test_a_function_of_a_file_gives_the_net(result: ff.Evaluation, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        score = x.flatten(1) @ torch.tensor([1.0, -1.0, 1.0, -1.0])\n"
        "        return torch.stack([torch.zeros_like(score), score], 1)\n"
    )
    found = ff.evaluate(f"{tmp_path}/own.py:Net", (X, Y), eps=EPS, steps=20)
    assert found.frame()["pred_pert"].equals(result.frame()["pred_pert"])


def test_sweep_gives_a_front(root: Path) -> None:
    few = {"base.optimizer.epochs": 1, "battery.examples": 10, "battery.steps": 1}
    front = ff.sweep("thrm", trials=2, storage=root, name="few", settings=few)
    assert sorted(found.lam for found in front.results) == [0, 100]
    assert (root / "studies" / "few" / "front.json").is_file()


def test_a_hedge_sweep_takes_a_checkpoint(checkpoint: ff.Checkpoint, root: Path) -> None:
    checkpoint.save(root / "net" / "checkpoint")
    few = {"base.examples": 8, "base.aware": 1, "base.steps": 1, "base.attack.steps": 1}
    front = ff.sweep("hedge", net=root / "net" / "checkpoint", trials=1, storage=root, settings=few)
    assert front.study == "hedge-net" and front.results[0].settings["eps_d"] == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ff.evaluate(TwoClass(), (X, Y), "rsks"), ConfigError, "did you mean 'risks'"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), setps=3), ConfigError, "did you mean 'steps'"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), steps="3"), ConfigError, "steps"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), eps=-1), ConfigError, "eps must be"),
        (lambda: ff.evaluate(TwoClass()), ConfigError, "data is missing"),
        (lambda: ff.evaluate(TwoClass(), "cifar"), DataError, "did you mean 'cifar10'"),
        (lambda: ff.evaluate(3, (X, Y)), ModelError, "got int"),
        (lambda: ff.evaluate(Path("none"), (X, Y)), ModelError, "no complete checkpoint"),
        (lambda: ff.evaluate("resnt18", (X, Y)), ff.FftuneError, "resnet18"),
        (lambda: ff.evaluate(TwoClass(), (X * 3, Y)), DataError, "lie in"),
        (lambda: ff.evaluate(TwoClass(), (X, Y[:3])), DataError, "y must be 8 integers"),
        (lambda: ff.evaluate(TwoClass(), (X, Y.float())), DataError, "integers"),
        (lambda: ff.evaluate(TwoClass(), (X, Y + 1)), DataError, "labels must be from 0 to 1"),
        (lambda: ff.evaluate(TwoClass(), (Y, X, Y)), DataError, "once each"),
        (lambda: ff.evaluate(TwoClass(), X), DataError, "got Tensor"),
        (lambda: ff.evaluate(TwoClass(), [1, 2]), DataError, "got int"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), seeds=0), ConfigError, "seeds must be"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), seeds="3"), ConfigError, "seeds must be"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), transfer=3), ModelError, "transfer: net must"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), transfer=[None]), ModelError, "got NoneType"),
        (lambda: ff.evaluate(TwoClass(), (X, Y), transfer="mlp"), ConfigError, "with weights"),
        (lambda: ff.train("trhm"), ConfigError, "did you mean 'thrm'"),
        (lambda: ff.train("thrm", lamb=3), ConfigError, "did you mean 'lam'"),
        (lambda: ff.train("thrm", lam="x"), ConfigError, "lam"),
        (lambda: ff.sweep("thrmm"), ConfigError, "did you mean 'thrm'"),
        (lambda: ff.sweep("thrm", net="a.py:b"), ConfigError, "net must be left out"),
        (lambda: ff.sweep("hedge", net="a.py:b"), ConfigError, "folder of a checkpoint"),
    ],
)
def test_mistakes_are_one_line(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_import_is_quick_and_needs_no_torch() -> None:
    code = (
        "import sys, time; began = time.process_time(); import fftune;"
        "took = time.process_time() - began; dir(fftune);"
        "assert not {'torch', 'numpy', 'pandas'} & set(sys.modules), sys.modules.keys();"
        "assert took < 0.3, took"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_all_names_are_typed_found_and_offered_for_completion() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    typed = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and "fftune" in str(node.module)
        for alias in node.names
    }
    assert typed == {name: f"fftune.{home}" for name, home in ff._HOME.items()}
    assert set(ff.__all__) == {*typed, "__version__"} <= set(dir(ff))
    for name in typed:
        assert callable(getattr(ff, name)), name
    with pytest.raises(AttributeError, match="no attribute 'evaluat'"):
        _ = ff.evaluat


def imported_anew(names: Sequence[str], functions: Sequence[str], *, early: bool) -> None:
    """Import fftune's modules in this order, and find each function under its name."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "fftune"]:
        del sys.modules[name]
    import fftune

    if early:
        _ = fftune.evaluate, fftune.pgd
    for name in [
        *names,
        *(f"fftune.{door}" for door in ("evaluate", "reproduce", "sweep", "train")),
    ]:
        importlib.import_module(name)
    for name in fftune.__all__:
        assert not isinstance(getattr(fftune, name), ModuleType), name
    for module in [m for name, m in sys.modules.items() if name.startswith("fftune.")]:
        for name in getattr(module, "__all__", ()):
            assert not isinstance(getattr(module, name), ModuleType), (module, name)
    for name in (*functions, *functions):
        with pytest.raises(TypeError, match="missing") as caught:
            getattr(fftune, name)()
        assert name in str(caught.value)
    assert isinstance(sys.modules["fftune.evaluate"], ModuleType)


def test_a_function_is_never_hidden_by_a_module_of_its_name() -> None:
    names = [f"fftune.{n}" for n in modules() if n and "__main__" not in n and "ffcv" not in n]
    functions = [name for name in ff.__all__ if name.islower() and name != "__version__"]
    assert {"evaluate", "train", "sweep", "pgd"} <= set(functions)
    for backwards in (False, True):  # each pair of modules both ways round
        order = sorted(names, reverse=backwards)
        done = forked(partial(imported_anew, order, functions, early=backwards))
        assert done.returncode == 0, done.stderr
