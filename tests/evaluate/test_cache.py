"""What was computed once is not computed again, and nothing else is taken for it."""

from dataclasses import replace

import pytest
import torch
from subjects import subject_of

from fftune.config import BatteryConfig, DefenseConfig, ModelSpec, ThreatModel
from fftune.evaluate import case as cases
from fftune.evaluate.cache import REVISIONS, Cache, identity
from fftune.evaluate.case import Case, Task, perform
from fftune.evaluate.plan import carry_out, plan
from fftune.evaluate.run import by_this_process, case_of

THREAT = ThreatModel(eps=0.02)
RISKS = BatteryConfig(name="risks", block_size=40)
NET = "net"


def run(toy, case: Case, root):
    with cases.examined(toy, case) as subject:
        return carry_out(plan(case), by_this_process(subject, case, Cache(root, case, NET, "cpu")))


@pytest.fixture
def attacks(monkeypatch) -> list[str]:
    """The attacks that are really run, a block at a time."""
    done = []

    def counting(subject, block, probe, *, noise):
        done.append(probe.attack)
        return whole(subject, block, probe, noise=noise)

    whole = cases.attack_block
    monkeypatch.setattr(cases, "attack_block", counting)
    return done


def test_the_second_time_nothing_is_computed(toy, blobs, tmp_path, attacks) -> None:
    case = case_of(toy, blobs, RISKS, threat=THREAT)
    first = run(toy, case, tmp_path)
    assert attacks == ["pgd-20"] * 6  # two goals, blocks of 40, 40 and 20
    assert run(toy, case, tmp_path).table.equals(first.table)
    assert len(attacks) == 6


def test_batteries_share_what_they_have_in_common(toy, blobs, tmp_path, attacks) -> None:
    blobs = blobs.select(torch.arange(20), "test")
    run(toy, case_of(toy, blobs, RISKS, threat=THREAT), tmp_path)
    attacks.clear()
    both = replace(RISKS, name="hypocritical", tier="screen")
    shared = run(toy, case_of(toy, blobs, both, threat=THREAT), tmp_path)
    assert "pgd-20" not in attacks and set(attacks) == {"fgsm", "pgd-100", "cw-100", "strong"}
    alone = run(toy, case_of(toy, blobs, both, threat=THREAT), tmp_path / "other")
    assert shared.table.equals(alone.table)


def test_a_revised_search_leaves_the_blocks_of_others(toy, blobs, tmp_path, monkeypatch) -> None:
    case = case_of(toy, blobs, replace(RISKS, name="nine"), threat=THREAT)
    cache = Cache(tmp_path, case, NET, "cpu")

    def paths() -> dict[str, object]:
        return {probe.attack: cache._path(case.tasks(probe)[0]) for probe in case.probes}

    before = paths()
    monkeypatch.setitem(REVISIONS, "square", 7)
    moved = {attack for attack, path in paths().items() if path != before[attack]}
    assert moved == {"square", "autoattack"} and len(before) == 9


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_block_is_computed_again(damage, toy, blobs, tmp_path, attacks, caplog) -> None:
    case = case_of(toy, blobs, RISKS, threat=THREAT)
    first = run(toy, case, tmp_path)
    path = sorted(tmp_path.glob("blocks/*/*.parquet"))[0]
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes({"cut": data[:-100], "flipped": data, "empty": b""}[damage])
    attacks.clear()
    assert run(toy, case, tmp_path).table.equals(first.table)
    assert len(attacks) == 1
    assert "is damaged and computed again" in caplog.text


def test_every_part_of_the_key_counts(toy, blobs, tmp_path) -> None:
    case = case_of(toy, blobs, RISKS, threat=THREAT)
    task = case.tasks(case.probes[0])[0]
    pixels = blobs.pixels.clone()
    pixels[-1] = 255 - pixels[-1]  # of another block, but rows name the whole set
    others = {
        "seed": replace(case, battery=replace(RISKS, seed=1)),
        "threads": replace(case, battery=replace(RISKS, threads=2)),
        "precision": replace(case, battery=replace(RISKS, precision="bf16")),
        "weights": replace(case, model_hash="0" * 16),
        "data": case_of(toy, replace(blobs, pixels=pixels), RISKS, threat=THREAT),
        "split": case_of(toy, replace(blobs, split="validation"), RISKS, threat=THREAT),
        "defense": case_of(
            toy, blobs, RISKS, threat=THREAT, defense=DefenseConfig(names=("random",))
        ),
    }
    paths = {name: Cache(tmp_path, other, NET, "cpu")._path(task) for name, other in others.items()}
    same = Cache(tmp_path, case, NET, "cpu")
    wide = case_of(toy, blobs, RISKS, threat=ThreatModel(eps=0.03))
    paths |= {
        "itself": same._path(task),
        "net": Cache(tmp_path, case, "other", "cpu")._path(task),
        "device": Cache(tmp_path, case, NET, "cuda")._path(task),
        "eps": same._path(wide.tasks(wide.probes[0])[0]),
        "goal": same._path(case.tasks(case.probes[1])[0]),
        "ids": same._path(Task(task.probe, task.rows[:-1])),
    }
    assert len(set(paths.values())) == len(paths)


def test_how_many_attacks_stand_beside_one_is_no_matter(toy, blobs, tmp_path) -> None:
    defense = DefenseConfig(names=("random",))
    risks = case_of(toy, blobs, RISKS, threat=THREAT, defense=defense)
    more = case_of(toy, blobs, replace(RISKS, name="nine"), threat=THREAT, defense=defense)
    assert risks.guard.control != more.guard.control
    task = risks.tasks(risks.probes[0])[0]
    places = {Cache(tmp_path, case, NET, "cpu")._path(task) for case in (risks, more)}
    assert len(places) == 1
    clean = next(t for t in risks.probes if t.attack == "clean")
    task = risks.tasks(clean)[0]
    assert len({Cache(tmp_path, case, NET, "cpu")._path(task) for case in (risks, more)}) == 2


def test_a_users_file_is_part_of_the_net(toy, tmp_path) -> None:
    file = tmp_path / "net.py"
    file.write_text("def net(): ...\n")
    spec = ModelSpec(factory=f"{file}:net")
    before = identity(spec, toy)
    assert identity(replace(spec, weights="elsewhere.pt", hash="1"), toy) == before
    file.write_text("def net(): return 1\n")
    assert identity(spec, toy) != before
    assert identity(ModelSpec(factory="fftune:mlp"), toy) != identity(
        ModelSpec(factory="fftune:mlp", width=2), toy
    )


def test_a_task_is_the_same_wherever_its_case_was_made(toy, blobs) -> None:
    case = case_of(toy, blobs, RISKS, threat=THREAT)
    subject = subject_of(toy, blobs)
    task = case.tasks(case.probes[1])[1]
    ids, x, y = case.block(task)
    assert ids.tolist() == blobs.ids[40:80].tolist() and (y == blobs.y[40:80]).all()
    assert (x == blobs.pixels[40:80] / 255).all()
    assert perform(subject, case, task).equals(perform(subject, case, task))
