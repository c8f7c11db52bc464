"""The one entrance: one net or several, described or in memory, data opened once."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from subjects import job_of
from torch import nn

from fftune.config import BatteryConfig, DataSpec, ModelSpec, ThreatModel
from fftune.data import subset
from fftune.data.model_spec import with_inputs
from fftune.errors import ConfigError, DataError, FftuneError, ModelError, StorageError
from fftune.evaluation.block_cache import BlockCache
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.job import BlockTask
from fftune.evaluation.question import questions_of
from fftune.evaluation.scheduler import EvalResult, LostBlock, run_inline
from fftune.models.specs import named_spec

THREAT = ThreatModel(eps=0.02)
RISKS = BatteryConfig(name="risks", steps=2, block_size=40)
FILE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(65, 10))
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_a_net_in_memory_and_several_by_name_have_the_same_rows(toy, blobs) -> None:
    alone = evaluate(toy, blobs, RISKS, threat=THREAT)
    several = evaluate({"one": toy, "two": toy}, blobs, RISKS, threat=THREAT)
    assert list(several) == ["one", "two"]
    for name, result in several.items():
        assert result.complete().table.equals(alone.table)
        assert [question.net for question in questions_of(result.outcomes)] == [name]
    assert [question.net for question in questions_of(alone)] == ["Toy"]


def test_where_one_net_does_not_fit_the_others_are_evaluated(toy, blobs) -> None:
    nets = {"good": toy, "bad": nn.Sequential(nn.Flatten(), nn.Linear(99, 8))}
    found = evaluate(nets, blobs, RISKS, threat=THREAT)
    assert len(found["good"].complete()) == 200
    with pytest.raises(ModelError, match="net does not take images of 1 x 6 x 6"):
        found["bad"].complete()


def test_a_context_is_opened_for_the_attacks_once_and_where_there_are_none_never(
    toy, blobs, monkeypatch
) -> None:
    seen = []

    @contextmanager
    def beside():
        seen.append("opened")
        yield
        seen.append("closed")
        raise StorageError("down")

    def attacked(*arguments, **options):
        seen.append("attacked")
        return run_inline(*arguments, **options)

    monkeypatch.setattr("fftune.evaluation.evaluate.run_inline", attacked)
    nets = {"broken": nn.Linear(1, 1), "one": toy, "two": toy}
    with pytest.raises(StorageError, match="down"):
        evaluate(nets, blobs, RISKS, threat=THREAT, beside=beside)
    assert seen == ["opened", "attacked", "attacked", "closed"]
    evaluate({"broken": nn.Linear(1, 1)}, blobs, RISKS, threat=THREAT, beside=beside)
    assert len(seen) == 4


def test_bad_labels_are_the_data_s_fault_and_end_all(toy, blobs) -> None:
    with pytest.raises(DataError, match="labels must be from 0 to 7"):
        evaluate({"a": toy, "b": toy}, replace(blobs, y=blobs.y + 8), RISKS, threat=THREAT)


def test_data_are_opened_once_for_all_nets_and_after_the_first(file, monkeypatch) -> None:
    opened = []

    def counting(spec, split):
        opened.append((spec.name, split))
        return whole(spec, split)

    whole = subset.place_framed
    monkeypatch.setattr(subset, "place_framed", counting)
    specs = {name: ModelSpec(factory=f"{file}:{name}") for name in ("net", "wide")}
    battery = replace(RISKS, examples=8)
    found = evaluate(specs | {"again": specs["net"]}, DataSpec(), battery, threat=THREAT)
    assert opened == [("digits", "test")]
    assert found["wide"].error is not None
    assert found["again"].complete().table.equals(found["net"].complete().table)
    opened.clear()
    with pytest.raises(ModelError, match="defines no function"):
        evaluate(ModelSpec(factory=f"{file}:nothing"), DataSpec(), battery, threat=THREAT)
    assert not opened


def test_examples_of_a_data_set_in_memory_are_spread_over_its_ids(toy, blobs) -> None:
    rows = evaluate(toy, blobs, replace(RISKS, examples=4), threat=THREAT)
    assert sorted(rows.values("id")) == [0, 75, 150, 225]
    (question,) = questions_of(rows)
    assert (question.examples, question.available) == (4, 100)


def test_a_data_set_in_memory_is_one_split(toy, blobs) -> None:
    assert len(evaluate(toy, blobs, RISKS, threat=THREAT, split="test")) == 200
    with pytest.raises(ConfigError, match="split must be 'test', as the examples are"):
        evaluate(toy, blobs, RISKS, threat=THREAT, split="validation")


def test_ray_takes_no_net_in_memory(toy, blobs) -> None:
    with pytest.raises(ConfigError, match="backend must be 'inline' for a net in memory"):
        evaluate(toy, blobs, RISKS, threat=THREAT, backend="ray")


def test_blocks_of_a_net_in_memory_are_not_kept(toy, blobs, file, tmp_path, monkeypatch) -> None:
    """Nothing tells its code from that of another class of the same name."""
    kept = []
    monkeypatch.setattr(BlockCache, "put", lambda _self, task, _table: kept.append(task))
    evaluate(toy, blobs, RISKS, threat=THREAT, root=tmp_path)
    assert not kept
    spec, few = ModelSpec(factory=f"{file}:net"), replace(RISKS, examples=8)
    evaluate(spec, DataSpec(), few, threat=THREAT, root=tmp_path)
    assert len(kept) == 2


def test_lost_blocks_are_no_complete_result(toy, blobs) -> None:
    rows = evaluate(toy, blobs, RISKS, threat=THREAT)
    assert EvalResult(outcomes=rows).complete() is rows
    attack = job_of(toy, blobs, RISKS, threat=THREAT).attacks[0]
    lost = LostBlock(BlockTask(attack, (0, 1)), "failed 3 times")
    with pytest.raises(FftuneError, match="1 blocks are missing; the first: pgd-2.*2 examples"):
        EvalResult(outcomes=rows, lost=[lost]).complete()


@pytest.mark.slow
def test_a_net_that_needs_its_images_is_built_for_them(monkeypatch) -> None:
    opened = []

    def counting(spec, split):
        opened.append(split)
        return whole(spec, split)

    whole = subset.place_framed
    monkeypatch.setattr(subset, "place_framed", counting)
    battery, data = replace(RISKS, examples=8), DataSpec()
    bare = evaluate(named_spec("mlp"), data, battery, threat=THREAT)
    assert opened == ["test"]
    told = evaluate(with_inputs(named_spec("mlp"), data), data, battery, threat=THREAT)
    assert bare.table.equals(told.table)
    assert questions_of(bare) == questions_of(told)
