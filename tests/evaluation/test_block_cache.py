"""What was computed once is not computed again, and nothing else is taken for it."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
import torch
from subjects import job_of, model_under_test, rows_of

from fftune.attacks import attack_spec
from fftune.config import BatteryConfig, DefenseConfig, ModelSpec, ThreatModel
from fftune.evaluation import block_cache
from fftune.evaluation import perform as performed
from fftune.evaluation.block_cache import BlockCache, identity
from fftune.evaluation.job import BlockTask, EvalJob, under_test
from fftune.evaluation.perform import perform
from fftune.models import load_model
from fftune.registry import ATTACKS
from tests.brief import BRIEF

THREAT = ThreatModel(eps=0.02)
RISKS = BatteryConfig(name="risks", block_size=40)
WHO = "net"


def run(toy, job: EvalJob, root):
    with under_test(toy, job) as subject:
        return rows_of(subject, job, BlockCache(root, job, WHO, "cpu"))


@pytest.fixture
def attacks(monkeypatch) -> list[str]:
    """The attacks that are really run, a block at a time."""
    done = []

    def counting(subject, block, attack, *, noise):
        done.append(attack.name)
        return whole(subject, block, attack, noise=noise)

    whole = performed.attack_block
    monkeypatch.setattr(performed, "attack_block", counting)
    return done


def test_the_second_time_nothing_is_computed(toy, blobs, tmp_path, attacks) -> None:
    job = job_of(toy, blobs, RISKS, threat=THREAT)
    first = run(toy, job, tmp_path)
    assert attacks == ["pgd-20"] * 6  # two goals, blocks of 40, 40 and 20
    assert run(toy, job, tmp_path).table.equals(first.table)
    assert len(attacks) == 6


def test_batteries_share_what_they_have_in_common(toy, blobs, tmp_path, attacks) -> None:
    blobs = blobs.select(torch.arange(20), "test")
    run(toy, job_of(toy, blobs, RISKS, threat=THREAT), tmp_path)
    attacks.clear()
    both = replace(RISKS, name="hypocritical", tier="screen")
    shared = run(toy, job_of(toy, blobs, both, threat=THREAT), tmp_path)
    others = {"fgsm", "pgd-100", "cw-100", "strong", "unbounded"}
    assert "pgd-20" not in attacks and set(attacks) == others
    alone = run(toy, job_of(toy, blobs, both, threat=THREAT), tmp_path / "other")
    assert shared.table.equals(alone.table)


def test_a_revised_search_leaves_the_blocks_of_others(toy, blobs, tmp_path, monkeypatch) -> None:
    job = job_of(toy, blobs, replace(RISKS, name="nine"), threat=THREAT)
    cache = BlockCache(tmp_path, job, WHO, "cpu")

    def paths() -> dict[str, object]:
        return {attack.name: cache._path(job.tasks(attack)[0]) for attack in job.attacks}

    before = paths()
    specs = {name: attack_spec(name) for name in ATTACKS}
    specs["square"] = replace(specs["square"], revision=7)
    monkeypatch.setattr(block_cache, "attack_spec", specs.__getitem__)
    moved = {attack for attack, path in paths().items() if path != before[attack]}
    assert moved == {"square", "autoattack"} and len(before) == 9


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_block_is_computed_again(damage, toy, blobs, tmp_path, attacks, caplog) -> None:
    job = job_of(toy, blobs, RISKS, threat=THREAT)
    first = run(toy, job, tmp_path)
    path = sorted(tmp_path.glob("blocks/*/*.parquet"))[0]
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes({"cut": data[:-100], "flipped": data, "empty": b""}[damage])
    attacks.clear()
    assert run(toy, job, tmp_path).table.equals(first.table)
    assert len(attacks) == 1
    assert "is damaged and computed again" in caplog.text


def test_every_part_of_the_key_counts(toy, blobs, tmp_path) -> None:
    job = job_of(toy, blobs, RISKS, threat=THREAT)
    task = job.tasks(job.attacks[0])[0]
    pixels = blobs.pixels.clone()
    pixels[-1] = 255 - pixels[-1]  # of another block, but rows name the whole set
    others = {
        "seed": replace(job, battery=replace(RISKS, seed=1)),
        "threads": replace(job, battery=replace(RISKS, threads=2)),
        "precision": replace(job, battery=replace(RISKS, precision="bf16")),
        "weights": replace(job, model_hash="0" * 16),
        "data": job_of(toy, replace(blobs, pixels=pixels), RISKS, threat=THREAT),
        "split": job_of(toy, replace(blobs, split="validation"), RISKS, threat=THREAT),
        "defense": job_of(
            toy, blobs, RISKS, threat=THREAT, defense=DefenseConfig(**BRIEF, names=("random",))
        ),
    }
    paths = {
        name: BlockCache(tmp_path, other, WHO, "cpu")._path(task) for name, other in others.items()
    }
    same = BlockCache(tmp_path, job, WHO, "cpu")
    wide = job_of(toy, blobs, RISKS, threat=ThreatModel(eps=0.03))
    paths |= {
        "itself": same._path(task),
        "net": BlockCache(tmp_path, job, "other", "cpu")._path(task),
        "device": BlockCache(tmp_path, job, WHO, "cuda")._path(task),
        "eps": same._path(wide.tasks(wide.attacks[0])[0]),
        "goal": same._path(job.tasks(job.attacks[1])[0]),
        "ids": same._path(BlockTask(task.attack, task.rows[:-1])),
    }
    assert len(set(paths.values())) == len(paths)


def test_how_many_attacks_stand_beside_one_is_no_matter(toy, blobs, tmp_path) -> None:
    defense = DefenseConfig(**BRIEF, names=("random",))
    risks = job_of(toy, blobs, RISKS, threat=THREAT, defense=defense)
    more = job_of(toy, blobs, replace(RISKS, name="nine"), threat=THREAT, defense=defense)
    assert risks.defense_set.control != more.defense_set.control
    task = risks.tasks(risks.attacks[0])[0]
    places = {BlockCache(tmp_path, job, WHO, "cpu")._path(task) for job in (risks, more)}
    assert len(places) == 1
    clean = next(t for t in risks.attacks if t.name == "clean")
    task = risks.tasks(clean)[0]
    assert len({BlockCache(tmp_path, job, WHO, "cpu")._path(task) for job in (risks, more)}) == 2


def test_a_net_of_another_name_or_width_is_another(toy, blobs) -> None:
    subject = model_under_test(toy, blobs)
    mlp = ModelSpec(factory="fftune:mlp")
    assert identity(mlp, subject, blobs) == identity(
        replace(mlp, weights="elsewhere.pt", hash="1"), subject, blobs
    )
    others = [ModelSpec(factory="fftune:vgg16"), replace(mlp, width=2)]
    assert len({identity(spec, subject, blobs) for spec in (mlp, *others)}) == 3


NET = """
import torch
from torch import nn
{top}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(36, 8)
    def forward(self, x):
{inside}
        return scale(self.fc(x.flatten(1)))

def net():
    torch.manual_seed(0)
    return Net()
"""
HELPERS = {
    "beside it": ("from helper import scale", "        pass", "helper.py"),
    "in a package": ("from parts.inner import scale", "        pass", "parts/inner.py"),
    "behind another": ("from parts.outer import scale", "        pass", "parts/inner.py"),
    "imported when it is asked": ("", "        from helper import scale", "helper.py"),
    "a package without __init__": (
        "from bare import inner",
        "        scale = inner.scale",
        "bare/inner.py",
    ),
}


def users_net(folder, top: str, inside: str, helper: str, factor: float, *, spaces: int = 0):
    """A net whose logits a helper multiplies; its file, and what it should say of x."""
    (folder / "mine.py").write_text(NET.format(top=top, inside=inside))
    for package in ("parts", "bare"):
        (folder / package).mkdir(exist_ok=True)
    (folder / "parts/__init__.py").write_text("")
    (folder / "parts/outer.py").write_text("from .inner import scale\n")
    text = f"def scale(z):\n    return z * {factor}\n" + "\n" * spaces
    (folder / helper).write_text(text)
    return ModelSpec(factory=f"{folder / 'mine.py'}:net")


@pytest.mark.some(2)
@pytest.mark.parametrize("place", HELPERS)
def test_a_changed_helper_is_another_net_and_runs(place, blobs, tmp_path) -> None:
    """In one process, within a second, and with as many letters as before."""
    top, inside, helper = HELPERS[place]

    def asked(factor: float, spaces: int = 0) -> tuple[str, torch.Tensor]:
        spec = users_net(tmp_path, top, inside, helper, factor, spaces=spaces)
        net = load_model(spec)
        subject = model_under_test(net, blobs)
        return identity(spec, subject, blobs), net(blobs.pixels / 255)

    first, logits = asked(1.0)
    assert asked(1.0)[0] == first
    other, doubled = asked(2.0)
    torch.testing.assert_close(doubled, 2 * logits)
    assert asked(1.0)[0] == first != other
    assert asked(1.0, spaces=1)[0] not in (first, other)  # the text counts, whatever it does


def test_two_nets_have_each_the_helper_of_their_own_folder(blobs, tmp_path) -> None:
    top, inside, helper = HELPERS["beside it"]
    logits = []
    for factor in (1.0, 2.0):
        folder = tmp_path / str(factor)
        folder.mkdir()
        net = load_model(users_net(folder, top, inside, helper, factor))
        logits.append(net(blobs.pixels / 255))
    torch.testing.assert_close(logits[1], 2 * logits[0])


def test_what_a_net_reads_from_other_files_is_part_of_it(blobs, tmp_path) -> None:
    file, factor = tmp_path / "mine.py", tmp_path / "factor.txt"
    file.write_text(
        "import pathlib, torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return self.factor * x.flatten(1)[:, :8]\n"
        "def net():\n"
        "    net = Net()\n"
        "    net.factor = float(pathlib.Path(__file__).with_name('factor.txt').read_text())\n"
        "    return net\n"
    )
    spec, found = ModelSpec(factory=f"{file}:net"), []
    for text in ("1", "2", "1"):
        factor.write_text(text)
        found.append(identity(spec, model_under_test(load_model(spec), blobs), blobs))
    assert found[0] == found[2] != found[1]


def short_of_rows(table):
    return table.slice(0, len(table) // 2)


def column(table, name: str, value: object):
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array([value] * len(table)).cast(field.type))


def edited(table, name: str, change):
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(change(table[name].to_pylist()), field.type))


def following(y: int) -> int:
    return (y + 1) % 8


SPOILT = {
    "half its rows": short_of_rows,
    "its last row missing": lambda t: t.slice(0, len(t) - 1),
    "a row twice": lambda t: pa.concat_tables([t, t.slice(0, 1)]),
    "rows in another order": lambda t: t.take(list(reversed(range(len(t))))),
    "other ids": lambda t: t.set_column(3, t.schema.field(3), pa.compute.add(t["id"], 1)),
    "another attack": lambda t: column(t, "attack", "fgsm"),
    "another goal": lambda t: column(t, "goal", "targeted"),
    "another radius": lambda t: column(t, "eps", 0.5),
    "another data set": lambda t: column(t, "dataset_hash", "0"),
    "other labels": lambda t: edited(t, "y", lambda ys: [following(y) for y in ys]),
    "one other label": lambda t: edited(t, "y", lambda ys: [*ys[:-1], following(ys[-1])]),
    "predictions that are no class": lambda t: column(t, "pred_pert", 8),
    "clean predictions below all classes": lambda t: column(t, "pred_clean", -1),
    "a prediction that is missing": lambda t: edited(
        t, "pred_clean_defended", lambda ps: [None, *ps[1:]]
    ),
    "another schema": lambda t: t.drop_columns(["distance"]),
    "a later schema": lambda t: column(t, "schema_version", 99),
}


@pytest.mark.some(10)
@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("by", ["put", "hand"])
def test_a_block_of_something_else_is_computed_again(
    how, by, toy, blobs, tmp_path, attacks, caplog
) -> None:
    """Whether our own code wrote it or somebody's Parquet tool."""
    job = job_of(toy, blobs.select(torch.arange(40), "test"), RISKS, threat=THREAT)
    first = run(toy, job, tmp_path)
    cache, task = BlockCache(tmp_path, job, "net", "cpu"), job.tasks(job.attacks[0])[0]
    spoilt = SPOILT[how](cache.get(task))
    if by == "put":
        cache.put(task, spoilt)
    else:
        pq.write_table(spoilt, cache._path(task))
    attacks.clear()
    assert run(toy, job, tmp_path).table.equals(first.table)
    assert len(attacks) == 1 and "computed again" in caplog.text


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("name", "defense"),
    [
        ("risks", ()),
        ("targets", ()),
        ("hypocritical", ()),
        ("targets", ("random", "hedge")),
        pytest.param("risks", ("random", "hedge"), marks=pytest.mark.slow),
        pytest.param("hypocritical", ("random", "hedge"), marks=pytest.mark.slow),
    ],
)
def test_whole_blocks_of_every_scope_are_known_again(
    name, defense, toy, blobs, tmp_path, attacks
) -> None:
    few, settings = (
        blobs.select(torch.arange(50), "test"),
        DefenseConfig(**BRIEF, names=defense, steps=2),
    )
    tier = "screen" if name == "hypocritical" else None
    battery = BatteryConfig(name=name, block_size=40, steps=2, tier=tier)
    job = job_of(toy, few, battery, threat=THREAT, defense=settings)
    first = run(toy, job, tmp_path)
    assert attacks
    attacks.clear()
    assert run(toy, job, tmp_path).table.equals(first.table) and not attacks


def test_half_a_block_of_mistakes_alone_is_computed_again(toy, blobs, tmp_path, attacks) -> None:
    job = job_of(toy, blobs, BatteryConfig(name="targets", steps=2), threat=THREAT)
    first = run(toy, job, tmp_path)
    cache, task = BlockCache(tmp_path, job, "net", "cpu"), job.tasks(job.attacks[-1])[0]
    table = cache.get(task)
    assert task.attack.scope != "all" and 0 < len(table) < len(blobs)
    path = cache._path(task)
    pq.write_table(pq.read_table(path).slice(0, len(table) // 2), path)
    attacks.clear()
    assert run(toy, job, tmp_path).table.equals(first.table) and len(attacks) == 1


def test_edited_predictions_are_computed_again(toy, blobs, tmp_path, attacks, caplog) -> None:
    """By a tool that keeps the metadata; all columns are values that a net could have given."""
    job = job_of(toy, blobs.select(torch.arange(40), "test"), RISKS, threat=THREAT)
    first = run(toy, job, tmp_path)
    path = BlockCache(tmp_path, job, "net", "cpu")._path(job.tasks(job.attacks[0])[0])
    pq.write_table(
        edited(pq.read_table(path), "pred_pert", lambda ps: [*ps[:-1], following(ps[-1])]), path
    )
    attacks.clear()
    assert run(toy, job, tmp_path).table.equals(first.table)
    assert len(attacks) == 1 and "its rows are not those that were kept" in caplog.text


def test_a_task_is_the_same_wherever_its_case_was_made(toy, blobs) -> None:
    job = job_of(toy, blobs, RISKS, threat=THREAT)
    subject = model_under_test(toy, blobs)
    task = job.tasks(job.attacks[1])[1]
    ids, x, y = job.block(task)
    assert ids.tolist() == blobs.ids[40:80].tolist() and (y == blobs.y[40:80]).all()
    assert (x == blobs.pixels[40:80] / 255).all()
    assert perform(subject, job, task).equals(perform(subject, job, task))
