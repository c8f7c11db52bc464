"""Evaluation of one hedge of one model, on the split that selects and the one that reports.

The examples are perturbed once, on the bare model; each trial then pays for its defense, and for
an adaptive attack on a part of the examples.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from fftune.config import (
    AttackConfig,
    BatteryConfig,
    DataSpec,
    HedgeTrial,
    Split,
    ThreatModel,
    config_hash,
    require,
)
from fftune.data import Dataset
from fftune.data.subset import sample
from fftune.defenses import AdaptiveAccess, Hedge, refuse_without_gradients
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block_cache import identity
from fftune.evaluation.defended import CLEAN
from fftune.evaluation.direct import attack_model, remarks_on
from fftune.evaluation.job import TRIED_ON, EvalJob, try_out, under_test
from fftune.evaluation.question import Defended, Question, question_of
from fftune.evaluation.tiers import AttackStage
from fftune.hedge_study.precomputed import defended_rows, name_of, perturb_dataset, perturbed_once
from fftune.keyed_noise import Noise
from fftune.models import adapted, device_of, load_model, torch_threads, weights_hash
from fftune.outcomes import Outcomes
from fftune.user_code import answering

ADAPTIVE = "aware-hedge"
"""Name in rows of the adaptive attack: Wu et al. 2021, alg. 6, with a draw of its own a step."""
DRAWS = 20
"""Draws over which that attack averages where the defense is random noise alone, as is cheap."""
UNDEFENDED = HedgeTrial(eps_d=0).hedge
"""Hedge that does nothing."""


def check_hedge(config: HedgeTrial) -> None:
    """Run the model on a few images, before a study starts.

    Raises:
        ModelError: the model cannot be built, does not take the data's images, does not return
            logits of their classes, or has no gradients that a hedge could follow.
        DataError: the data are missing.
        ConfigError: the examples are so few that none are left to select, or to report.
    """
    for split, dataset in splits_of(config.data, config.examples).items():
        rule = f"so many that some are left for {split}"
        require("base.examples", len(dataset) > 0, rule, config.examples)
    net = load_model(config.net)
    few = sample(config.data, "test", TRIED_ON)
    still = AttackConfig(threat=ThreatModel(eps=0), steps=0, start="none")
    attack = Attack(name=CLEAN, goal="adversarial", stages=(AttackStage(config=still, loss="ce"),))
    attack_model(net, few, battery_of(config), (attack,))
    with answering(), torch_threads(config.threads):
        device = device_of(config.device)
        x = next(few.batches(len(few)))[1].to(device)
        refuse_without_gradients(adapted(net.to(device), x), x)
    crafting = AttackStage(config=config.crafting, loss="ce")
    remarks_on(net, few, battery_of(config), (replace(attack, stages=(crafting,)),))


def pinned(config: HedgeTrial) -> HedgeTrial:
    """Add the hash of the model's weights, so that a study cannot be resumed with others.

    Raises:
        ModelError: the model cannot be built.
    """
    net = load_model(config.net)
    return replace(config, net=replace(config.net, hash=weights_hash(net)))


def evaluate_hedge(config: HedgeTrial, cache: Path) -> Outcomes:
    """Compute rows of the defended model on `validation`, which selects, and on `test`.

    Args:
        cache: folder for perturbed examples, shared by all trials and studies.
    """
    net, battery = load_model(config.net), battery_of(config)
    model_hash, hedge = weights_hash(net), config.hedge
    tables = []
    splits = splits_of(config.data, config.examples)
    questions = []
    for dataset in splits.values():
        questions.append(_question(net, dataset, config, model_hash))
        perturbed = perturbed_once(
            cache, net, dataset, battery, config.crafting, model_hash=model_hash, spec=config.net
        )
        # The bare model's predictions show what the hedge has changed.
        for one in dict.fromkeys((hedge, UNDEFENDED)):
            rows = defended_rows(net, perturbed, one, battery=battery, seed=config.seed)
            tables.append(rows.table)
    few = spread(splits["test"], config.aware)
    access = AdaptiveAccess(defense=Hedge(config=hedge), draws=1 if hedge.steps else DRAWS)
    adaptive = perturb_dataset(
        net, few, battery, config.crafting, model_hash=model_hash, access=access
    )
    tables.append(defended_rows(net, adaptive, hedge, battery=battery, seed=config.seed).table)
    return Outcomes.of(tables).answering(*(question.plain for question in questions))


def _question(net: nn.Module, dataset: Dataset, config: HedgeTrial, model_hash: str) -> Question:
    """Describe the evaluation of one split."""
    battery, hedge, threat = battery_of(config), config.hedge, config.attack.threat
    job = EvalJob.of(dataset, battery, model_hash=model_hash, threat=threat)
    with under_test(net, job) as subject:
        remarks, device = try_out(subject, job), subject.device
        code = identity(config.net, subject, dataset)
    bare = question_of(
        job,
        net=config.net.label,
        code=code,
        threat=threat,
        available=None,
        device=device,
        precision="fp32",
        remarks=remarks,
    )
    return replace(
        bare,
        battery="crafted",
        tier="full",
        attacks=(config.attack.label, ADAPTIVE),
        suite=config_hash(config),
        defenses=(Defended.of(name_of(hedge), Hedge(config=hedge)),),
        repeats=1,
    )


def splits_of(data: DataSpec, examples: int | None) -> dict[Split, Dataset]:
    """Open the examples that select and those that report.

    With a validation split, `examples` of it and of the test split. Without one, the test examples
    are divided by a hash of their ids: the half of an example does not depend on the others.
    """
    test = sample(data, "test", examples)
    if data.validation_size:
        return {"validation": sample(data, "validation", examples), "test": test}
    chooses = Noise(0).fold("chooses", test.source.name).uniform(test.ids, (1,)).flatten() < 0.5
    splits: tuple[Split, ...] = ("validation", "test")
    return {
        split: test.select(rows.nonzero().flatten(), split)
        for split, rows in zip(splits, (chooses, ~chooses), strict=True)
    }


def spread(dataset: Dataset, count: int) -> Dataset:
    """Select `count` of the examples, evenly spread over their ids."""
    if count >= len(dataset):
        return dataset
    return dataset.select(torch.arange(count) * len(dataset) // count, dataset.split)


def battery_of(config: HedgeTrial) -> BatteryConfig:
    """Settings by which the attacks are run."""
    return BatteryConfig(
        steps=config.attack.steps,
        block_size=config.block_size,
        seed=config.seed,
        threads=config.threads,
        device=config.device,
    )
