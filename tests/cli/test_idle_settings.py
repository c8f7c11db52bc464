"""A flag that nothing reads is one line, before anything is done."""

import pytest

from fftune.cli import doctor, evaluate, sweep, train
from fftune.cli.options import parse
from fftune.errors import ConfigError

NET = "--model mlp --data digits "
IDLE = {
    "evaluate": {
        NET + "--battery nine --battery.steps 5": "battery.steps must be left out, as battery "
        "'nine' has lengths of its own",
        NET + "--battery second_opinion --battery.steps 5": "battery.steps must be left out",
        NET + "--defense jpeg --defense.steps 5": "defense.steps must be left out, as no hedge is "
        "among defenses jpeg",
        NET + "--defense random --defense.step-size 0.1": "defense.step_size must be left out",
        NET + "--concurrency 2": "concurrency must be left out, as blocks are attacked without "
        "--backend ray",
        NET + "--data.no-image-resize": "data.image_resize must be left out, as image_size",
    },
    "train": {
        "standard --attack.steps 5": "attack.steps must be left out, as objective 'standard' "
        "perturbs no images",
        "standard --lam 3": "lam must be left out, as objective 'standard' with 1 workers",
        "thrm --attack.targets 3": "attack.targets must be left out, as attack 'pgd' does not",
        "thrm --attack.search apgd --attack.step-size 1/255": "attack.step_size must be left out",
        "thrm --optimizer.milestones 3": "optimizer.milestones must be left out, as neither",
        "thrm --optimizer.decay 0.5": "optimizer.decay must be left out",
        "thrm --min-workers 1": "min_workers must be left out",
        "thrm --concurrency 2": "concurrency must be left out, as one worker trains",
    },
    "sweep": {
        "thrm --margin 0.1 --strategy grid": "margin must be left out, as strategy 'grid' of",
        "thrm --trials 4 --strategy grid": "trials must be left out",
        "thrm --sampler-seed 3": "sampler_seed must be left out, as strategy 'gap' of this",
        "thrm --stopping.eta 3": "stopping.eta must be left out, as stopping.rungs are none",
        "thrm --battery fast_at --battery.steps 3": "battery.steps must be left out",
        "thrm --backend inline --concurrency 2": "concurrency must be left out",
        "thrm --space optimizer.lr=0.1:0.2 --lam 1 2": "lam must be left out",
    },
    "doctor": {NET + "--settings.steps 3": "settings.steps must be left out"},
}
VERBS = {"evaluate": evaluate, "train": train, "sweep": sweep, "doctor": doctor}


@pytest.mark.some(8)
@pytest.mark.parametrize(
    ("verb", "words"), [(verb, words) for verb, every in IDLE.items() for words in every]
)
def test_a_flag_that_nothing_reads_is_refused(verb: str, words: str, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        VERBS[verb].main([*words.split(), "--storage", str(tmp_path)])
    assert str(caught.value).startswith(IDLE[verb][words])
    assert "\n" not in str(caught.value) and not [*tmp_path.iterdir()]


def parse_doctor(words: list[str]) -> None:
    parse(doctor.Doctor, words, prog="x", default=doctor.Doctor(), manual=doctor.MANUAL)


READ = {
    "train": [
        "standard --seed 1",
        "thrm --attack.steps 5 --attack.start none --lam 3",
        "thrm --attack.search apgd --attack.targets 3",
        "fast_at --attack.step-size 2/255",
        "thrm --optimizer.schedule step --optimizer.milestones 3 --optimizer.decay 0.5",
    ],
    "doctor": [NET + "--defense hedge --settings.steps 3 --examples 20"],
    "sweep": [
        "thrm --strategy gp --sampler-seed 3 --trials 3",
        "thrm --margin 0.1",
        "thrm --stopping.rungs 5 --stopping.eta 3",
        "thrm --space objective=thrm,standard attack.steps=1,2 --base.attack.start none",
        "hedge --model mlp --data digits --base.steps 3",
    ],
}


@pytest.mark.parametrize(
    ("verb", "words"), [(verb, words) for verb, every in READ.items() for words in every]
)
def test_a_flag_that_counts_is_taken(verb: str, words: str) -> None:
    parsed = {"train": train.parsed, "sweep": sweep._parse, "doctor": parse_doctor}[verb]
    parsed(words.split())
