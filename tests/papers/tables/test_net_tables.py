import re
from pathlib import Path

import pyarrow as pa
import pytest

from fftune.cli.report import main
from fftune.errors import ConfigError, DataError
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Table
from fftune.papers.tables.evaluated_nets import Evaluated, read_evaluated
from fftune.papers.tables.net_tables import attack_table, certified_table, defense_tables
from tests.evaluation.test_defended import BY_HAND
from tests.test_risk import TEN, changed, outcomes

CERTIFIED = outcomes(
    y=[0] * 10,
    clean=[0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
    adv=[1, 2, 3, 0, 0, 0, 1, 1, 1, 1],
    hyp=[0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    attack="certified",
)


def with_success(rows: Outcomes) -> Outcomes:
    """Success as an attack's own: wrong for an adversary, right for a friend."""
    frame = rows.to_pandas()
    right = frame["pred_pert"] == frame["y"]
    success = right.where(frame["goal"] == "hypocritical", ~right)
    return Outcomes(changed(rows.table, "success", success.tolist(), pa.bool_()))


def cells(table: Table) -> dict[str, dict[tuple[str, str], float]]:
    return {
        f"{row.block} {row.label}".strip(): {
            column: cell.ours.mean
            for column, cell in zip(table.columns, row.cells, strict=True)
            if cell.ours
        }
        for row in table.rows
    }


def evaluated(**nets: Outcomes) -> Evaluated:
    return Evaluated(nets={name: [with_success(rows)] for name, rows in nets.items()}, terms="d")


def test_nets_under_attack_by_hand() -> None:
    """Six of ten are right; of them two fall; of four mistakes three are concealed, one right
    example is broken by the friend."""
    other = outcomes(
        y=[0] * 10,
        clean=[0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
        adv=[0, 0, 1, 0, 0, 0, 1, 1, 1, 1],
        hyp=[0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
        attack="apgd",
    )
    both = Outcomes.of([TEN.table, other.table])
    found = cells(attack_table(evaluated(net=both)))["net"]
    assert found == {
        ("", "clean"): 60,
        ("accuracy, attacked", "pgd-20"): 50,
        ("accuracy, attacked", "apgd"): 50,
        ("accuracy, attacked", "worst case"): 30,
        ("accuracy, helped", "pgd-20"): 80,
        ("accuracy, helped", "apgd"): 70,
        ("mistakes concealed", "pgd-20"): 75,
        ("mistakes concealed", "apgd"): 25,
        ("mistakes concealed", "worst case"): 100,
        ("inflation of the score", "pgd-20"): 30,
        ("inflation of the score", "apgd"): 10,
    }


def test_seeds_of_a_net_are_one_row() -> None:
    worse = outcomes(y=[0] * 10, clean=[1] * 8 + [0] * 2, adv=[1] * 10, hyp=[0] * 10)
    nets = {"net": [with_success(TEN), with_success(worse)]}
    (row,) = attack_table(Evaluated(nets=nets, terms="d")).rows
    clean = row.cells[0].ours
    assert clean and (clean.mean, clean.seeds) == (40, 2) and clean.sd**2 == pytest.approx(800)


def test_what_is_certified_is_no_attack() -> None:
    both = Outcomes.of([TEN.table, CERTIFIED.table])
    found = cells(attack_table(evaluated(net=both)))["net"]
    assert not any("certified" in name for _, name in found)
    assert ("accuracy, attacked", "worst case") not in found
    bounds = cells(certified_table(evaluated(net=both)))["net"]
    assert bounds["", "D"] == 60
    assert (bounds["A", "empirical"], bounds["A", "certified"]) == (50, 30)
    assert (bounds["F", "empirical"], bounds["F", "certified"]) == (80, 100)
    with pytest.raises(DataError, match="no net was certified"):
        certified_table(evaluated(net=TEN))


def test_other_settings_of_one_attack_are_another_column() -> None:
    other = Outcomes(changed(TEN.table, "config_hash", ["beef00"] * len(TEN), pa.string()))
    table = attack_table(evaluated(a=TEN, b=Outcomes.of([other.table])))
    names = [name for group, name in table.columns if group == "accuracy, attacked"]
    assert len(names) == 2 and "pgd-20 [beef]" in names
    assert [cell.reason for cell in table.rows[0].cells if not cell.ours] == [
        "there are no such rows of this net"
    ] * 4


def test_mistakes_alone_tell_no_accuracy() -> None:
    wrong = TEN.where(goal="hypocritical").among([6, 7, 8, 9])
    found = cells(attack_table(evaluated(net=wrong)))["net"]
    assert found == {("mistakes concealed", "pgd-20"): 75}


def test_defenses_have_means_and_variances() -> None:
    means, variances = defense_tables(evaluated(net=BY_HAND))
    assert cells(means)["net Hedge"]["", "C&W"] == 62.5
    assert cells(variances)["net Hedge"]["", "C&W"] == pytest.approx(312.5)
    assert ("", "C&W") not in cells(variances)["net -"]
    assert cells(means)["net Hedge"]["adaptive", "best"] == 25  # `known-hedge` is no part of it
    assert ("adaptive", "known-hedge") not in cells(means)["net Hedge"]
    with pytest.raises(DataError, match="no net was evaluated with a defense"):
        defense_tables(evaluated(net=TEN))


def written(root: Path, name: str, rows: Outcomes, net: str = "", **columns) -> Path:
    table = rows.table
    for column, value in columns.items():
        kind = pa.float64() if isinstance(value, float) else pa.string()
        table = changed(table, column, [value] * len(table), kind)
    (model_hash,) = set(table["model_hash"].to_pylist())
    question = {"net": net, "model_hash": model_hash, "data": "digits"}
    path = root / "rows" / f"{name}.parquet"
    Outcomes.of([table]).answering(question).write(path)
    return path


def test_nets_are_found_by_every_name(tmp_path: Path) -> None:
    path = written(tmp_path, "net-1234", TEN, "net")
    for name in ("net", "net-1234", str(path), str(path.parent)):
        assert list(read_evaluated([name], tmp_path).nets) == ["net"], name
    assert read_evaluated(["net", str(path)], tmp_path).terms == "digits, test, linf, eps 0.1"
    trial = tmp_path / "studies" / "thrm" / "trials" / "3" / "outcomes.parquet"
    trial.parent.mkdir(parents=True)
    path.rename(trial)
    (trial.parent / "history.parquet").write_bytes(b"no rows")
    assert list(read_evaluated(["thrm"], tmp_path).nets) == ["net"]


def test_seeds_are_grouped_where_names_say_so(tmp_path: Path) -> None:
    for seed in (0, 1):
        written(tmp_path, f"a{seed}", TEN, f"thrm-seed-{seed}", model_hash=f"{seed}" * 8)
        written(tmp_path, f"b{seed}", TEN, "same", model_hash=f"{seed}c" * 4)
    nets = read_evaluated(["a0", "a1", "b0", "b1"], tmp_path).nets
    assert {label: len(seeds) for label, seeds in nets.items()} == {
        "thrm": 2,
        "same (0c0c0c)": 1,
        "same (1c1c1c)": 1,
    }


def test_a_missing_net_is_one_line_with_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, "thrm-1234", TEN, "thrm")
    with pytest.raises(DataError, match=r"net 'thmr' has no rows in .*did you mean 'thrm'\?"):
        read_evaluated(["thmr"], tmp_path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"dataset_hash": "other"}, "differ in images: d and other"),
        ({"eps": 0.5}, "differ in eps: 0.1 and 0.5"),
        ({"norm": "l2"}, "differ in norm"),
    ],
)
def test_what_cannot_be_compared_is_not_mixed(tmp_path: Path, columns, said: str) -> None:
    written(tmp_path, "a", TEN, "a")
    written(tmp_path, "b", TEN, "b", model_hash="other", **columns)
    with pytest.raises(DataError, match=f"nets '[ab]' and '[ab]' {said}"):
        read_evaluated(["a", "b"], tmp_path)


def test_a_net_with_the_same_rows_twice_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "a", TEN, "net")
    written(tmp_path, "b", TEN.among(range(5)), "net")
    with pytest.raises(DataError, match="'net' has the same attacks .*; name one of a and b"):
        read_evaluated(["net"], tmp_path)
    with pytest.raises(DataError, match="no rows on split validation, only on test"):
        read_evaluated(["a"], tmp_path, "validation")


def test_the_command_writes_each_format(tmp_path: Path, capsys) -> None:
    written(tmp_path, "net-1234", with_success(TEN), "net")
    for form, said in {
        "text": "Nets under attack: digits, test, linf, eps 0.1",
        "markdown": "| net | 60.0 | 50.0 |",
        "latex": "net & 60.0 & 50.0",
        "csv": 'attacks,net,,"accuracy, attacked",pgd-20,50.0',
    }.items():
        main(["--table", "attacks", "net", "--format", form, "--storage", str(tmp_path)])
        assert said in capsys.readouterr().out, form


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "attacks"], "NET is missing"),
        ([], "STUDY is missing"),
        (["a", "--ids", "3"], "ids must be left out without --gallery"),
        (["a", "--format", "latex"], "format must be one of text, markdown, csv, json, or with"),
        (["--table", "attacks", "a", "--format", "json"], "format must be one of text"),
        (["--gallery", "x", "--table", "attacks"], "table must be left out with --gallery"),
    ],
)
def test_flags_that_do_not_fit_are_one_line(arguments, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        main(arguments)
