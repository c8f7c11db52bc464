"""Cost of a hedge study, before it runs."""

from fftune.config import HedgeSweep
from fftune.data.catalog import place_framed
from fftune.sweeping.samplers.spec import planned
from fftune.training.cost import Passes


def describe(config: HedgeSweep) -> str:
    """Describe what a study would cost, as if every trial took the greatest number of steps.

    Each example is perturbed once for all trials; each trial then defends it three times (clean,
    adversarial, hypocritical), and attacks a few examples through the defense.
    """
    base, trials = config.base, planned(config)
    found = {split: len(place_framed(base.data, split)[1]) for split in ("validation", "test")}
    test = min(found["test"], base.examples or found["test"])
    both = test + min(found["validation"], base.examples or test)
    few, most = min(base.aware, test), _most_steps(config)
    perturbed = Passes(forwards=1, backwards=1) * (2 * both * base.attack.steps)
    defended = Passes(forwards=most + 1, backwards=most) * 3
    adaptive = Passes(forwards=most + 1, backwards=most + 1) * (2 * base.attack.steps)
    total = perturbed + (defended * both + (adaptive + defended) * few) * trials
    return f"{trials} trials, at most {total}"


def _most_steps(config: HedgeSweep) -> int:
    tried = [end for d in config.dimensions if d.path == "steps" for end in d.ends]
    return int(max(tried, default=config.base.steps))
