import json
import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from fftune.cli.checkpoints import checkpoints_of
from fftune.cli.evaluate import main
from fftune.config import BatteryConfig, DataSpec, ModelSpec, ThreatModel
from fftune.errors import ConfigError, ModelError
from fftune.evaluation.evaluate import evaluate
from fftune.outcomes import Outcomes
from fftune.risk import UnionCounts
from tests.forked import PROCESSES

FILE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def five():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
"""


@pytest.fixture
def file(tmp_path, root, monkeypatch):
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_a_users_net_from_flags_to_rows(file, tmp_path, capsys) -> None:
    rows = tmp_path / "rows.parquet"
    few = ["--battery.steps", "3", "--battery.examples", "40", "--eps", "0.1"]
    net = ["--model", f"{file}:net", "--data", "digits", "--battery", "risks"]
    main([*net, *few, "--rows", str(rows)])
    said = capsys.readouterr().out
    assert "pgd-3" in said and "clean images" in said and "n = 40" in said
    outcomes = Outcomes.read(rows)
    assert len(outcomes) == 80
    assert outcomes.values("eps") == {0.1}


@pytest.mark.slow
def test_three_seeds_of_the_attackers_stand_beside_the_headline(file, root, capsys, caplog) -> None:
    caplog.set_level("INFO", "fftune")
    few = ["--battery.steps", "2", "--battery.examples", "60", "--battery.seed", "4"]
    net = ["--model", f"{file}:net", "--data", "digits", "--battery", "risks", "--eps", "0.1"]
    main([*net, *few, "--seeds", "3", "--details"])
    said = capsys.readouterr().out
    assert all(f"net, seed {seed}: " in caplog.text for seed in (4, 5, 6))
    (path,) = root.glob("rows/*.parquet.json")
    told = json.loads(path.read_text())["seeds"]
    accuracies, concealed = [], []
    rows = Outcomes.read(*root.glob("rows/*.parquet"))
    for seed in (4, 5, 6):
        union = UnionCounts.of(rows.where(seed=seed), split="test")
        accuracies.append(union.total - union.ever_wrong)
        concealed.append(union.concealed)
    assert [(one["seed"], one["count"]) for one in told["worst_case/accuracy"]] == list(
        zip((4, 5, 6), accuracies, strict=True)
    )
    assert [one["count"] for one in told["worst_case/hypocritical_risk"]] == concealed
    each = ", ".join(f"{count / 60:.1%}" for count in accuracies)
    apart = 100 * (max(accuracies) - min(accuracies)) / 60
    assert "worst case under attack seeds 4, 5, 6:" in said
    assert f"accuracy: {each}; {apart:.1f} points apart" in said
    assert "adversarial worst case: not known" in said  # PGD takes all its steps


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_was(file, root, tmp_path, caplog) -> None:
    net = [f"--model={file}:net", "--data=digits", "--battery=risks", "--examples=120"]
    few = ["--battery.steps=3", "--battery.block-size=8"]
    never = [*net, *few, f"--rows={tmp_path / 'never.parquet'}"]
    first = PROCESSES.Process(target=main, args=(never,))
    first.start()
    while len(list(root.glob("blocks/*/*.parquet"))) < 5:
        time.sleep(0.01)
    first.kill()
    first.join()
    assert first.exitcode == -9 and not (tmp_path / "never.parquet").exists()
    done = len(list(root.glob("blocks/*/*.parquet")))
    assert 5 <= done < 30
    rows = tmp_path / "rows.parquet"
    caplog.set_level("INFO", "fftune")
    main([*net, *few, f"--rows={rows}"])
    assert f"net: {done} of 30 blocks" in caplog.text
    spec, battery = ModelSpec(factory=f"{file}:net"), BatteryConfig(examples=120, steps=3)
    whole = evaluate(
        spec, DataSpec(), replace(battery, block_size=8), threat=ThreatModel(), split="test"
    )
    assert Outcomes.read(rows).table.equals(whole.table)


@pytest.mark.slow
def test_targets_have_a_bar_for_every_class(file, tmp_path, capsys, caplog) -> None:
    few = ["--battery.steps=2", "--battery.examples=40", f"--rows={tmp_path / 'r.parquet'}"]
    main(["--model", f"{file}:net", "--battery=targets", "--data=digits", *few])
    said = capsys.readouterr().out
    assert all(f"pgd-2 to class {target} " in said for target in range(10))
    assert said.count("led to the class, of") == 1
    assert re.search(r"Of \d+ images that net gets wrong", said)
    assert "no-better-than-chance" in said and "no-better-than-chance" in caplog.text


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        ([], ConfigError, "CHECKPOINT is missing"),
        (["--battery", "risks"], ConfigError, "model is missing"),
        (
            ["--model", "{file}:net", "--battery", "nin"],
            ConfigError,
            "^battery.name must be known: unknown battery 'nin'; did you mean 'nine'",
        ),
        (
            ["--model", "{file}:net", "--data", "digits", "--battery", "nin"],
            ConfigError,
            "^battery.name must be known: unknown battery 'nin'",
        ),
        (
            ["--model", "resnt18"],
            ConfigError,
            r"^unknown model 'resnt18'; did you mean 'resnet18'\? \(or ",
        ),
        (
            ["--model", "{file}:net", "--exmaples", "5"],
            ConfigError,
            "^unknown flag --exmaples; .*--examples",
        ),
        (
            ["--model", "{file}:net", "--batery", "nine"],
            ConfigError,
            "^unknown flag --batery; .*--battery",
        ),
        (
            ["--model", "{file}:net", "--defence", "hedge"],
            ConfigError,
            "^unknown flag --defence; .*--defense",
        ),
        (["--model", "{file}:net", "--eps", "-1"], ConfigError, "eps must be finite and >= 0"),
        (
            ["--model", "{file}:net", "--defense", "hedge", "--defense.jpeg.quality", "50"],
            ConfigError,
            "^defense.jpeg.quality must be left out, as defense.names has no jpeg$",
        ),
        (
            ["--model", "{file}:net", "--transfer"],
            ConfigError,
            "^battery.transfer must have a value$",
        ),
        (["--model", "{file}:net", "--defense"], ConfigError, "^defense.names must have a value$"),
        (["--model", "{file}:five"], ModelError, "^net tells 5 classes apart, digits has 10$"),
        (["{folder}/nothing"], ModelError, "no complete checkpoint"),
        (["--model", "{file}:net", "--weights", "{file}"], ModelError, "cannot be used"),
    ],
)
def test_bad_input_is_one_line(file, tmp_path, flags, error, message, capsys) -> None:
    flags = [flag.format(file=file, folder=tmp_path) for flag in flags]
    with pytest.raises(error, match=message) as caught:
        main(flags)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert str(caught.value) not in capsys.readouterr().out  # said once, on stderr


def test_help_answers_without_the_heavy_frameworks() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "fftune.evaluate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: python -m fftune.evaluate CHECKPOINT" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"torch", "ray", "mlflow"}


@pytest.mark.some(2)
@pytest.mark.parametrize(("bar", "code"), [(0.999, 3), (0.15, 4), (0.01, 0)])
def test_a_bar_ends_the_command_with_its_verdict(file, bar, code, capsys) -> None:
    net = [f"--model={file}:net", "--data=digits", "--examples=60", "--battery.steps=2"]
    with pytest.raises(SystemExit) as ended:
        main([*net, f"--bar={bar}"])
    assert ended.value.code == code
    said = capsys.readouterr().out
    assert f"verdict at a bar of {100 * bar:g}%" in said and "would pass once touched" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bar=99.9"], r"^bar must be a share in \(0, 1\), as in .999, got 99.9$"),
        (["--bar=high"], "^bar must be a number"),
        (
            ["--bar=.9", "--battery=targets"],
            "^battery.name must be one that attacks all .*'targets'$",
        ),
    ],
)
def test_a_wrong_bar_is_one_line(file, flags, message) -> None:
    with pytest.raises(ConfigError, match=message):
        main([f"--model={file}:net", "--data=digits", *flags])


@pytest.mark.parametrize("named", ["standard-tiny-seed-4", "{root}/runs/standard-tiny-seed-4"])
def test_a_run_goes_by_its_name_or_folder(root, named) -> None:
    checkpoint = root / "runs/standard-tiny-seed-4/checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.json").write_text("{}")
    found = checkpoints_of([named.format(root=root)], str(root))
    assert found == {"standard-tiny-seed-4": checkpoint}
    with pytest.raises(ModelError, match="^no checkpoint, run or study 'standard-tiny'; did you"):
        checkpoints_of(["standard-tiny"], str(root))


def test_several_nets_go_by_patterns(root, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/one", "runs/two", "studies/front/trials/10", "studies/front/trials/9"):
        (root / name / "checkpoint").mkdir(parents=True)
        (root / name / "checkpoint/model.json").write_text("{}")
    (root / "runs/three").mkdir()
    assert [*checkpoints_of(["runs/*"], str(root))] == ["one", "two"]
    assert [*checkpoints_of(["two", "front", f"{root}/runs/o*"], str(root))] == [
        *("two", "front-9", "front-10", "one")
    ]
    for name in ("runs/x*", "three", "nowhere/at/all"):
        with pytest.raises(ModelError, match="^no complete checkpoint in "):
            checkpoints_of([name], str(root))


def test_a_dry_run_tells_passes_and_hours(capsys) -> None:
    net = ["--model=mlp", "--data=digits", "--examples=100", "--dry-run", "--on=h200"]
    main([*net, "--battery.steps=3"])
    said = capsys.readouterr().out
    assert json.loads(said[: said.rindex("}") + 1])["battery"]["steps"] == 3
    counts = "1 net, 100 of 1,197 images of test, 2 attacks, 800 forward and 600 backward passes"
    assert counts in said and "H200" in said
    main([*net, "--battery.steps=3", "--seeds=2"])
    assert "under 2 seeds, 1,600 forward and 1,200 backward" in capsys.readouterr().out
