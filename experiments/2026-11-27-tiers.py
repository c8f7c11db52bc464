"""Tiers of the ensembles, chosen by measured gain per pass (greedy, as AutoAE does it).

    python experiments/2026-11-27-tiers.py measure FOLDER --models MODELS --small STORE --tiny STORE
    python experiments/2026-11-27-tiers.py choose FOLDER
    python experiments/2026-11-27-tiers.py test FOLDER --models MODELS --tiny STORE

MODELS holds published nets, their `architectures.py` and `overfitted.pt`; the stores are those of
`fftune reproduce` at scale `small` (CIFAR-10, ResNet-18 of width 16, 5,000 images) and `tiny`
(8 x 8 digits). Whatever is measured is kept in FOLDER as parquet, and not measured again.

All that follows in capitals, and these rules, were written down before anything was measured:

- A pass is a forward pass; a gradient is a pass and a backward one, which costs `BACKWARD_COST`.
- Every candidate tries each image alone, with one start, until it fools it; a targeted one aims at
  the likeliest classes one after another. A false friend's candidates come after PGD-20, as in the
  battery `hypocritical`.
- The next search is the candidate with the largest share of newly fooled images for each pass spent
  on images that are not fooled yet, both as means over the nets, which so weigh the same. It must
  newly fool at least `LEAST` images.
- `escalating` ends where no candidate does so, or the best one's share for each pass is below
  `RATE`. Then a search is left out, the last first, if without it the same images are fooled by
  fewer passes.
- `screen` is as much of its beginning as costs an image that withstands it all at most `BUDGET`.
- `full` is not chosen: AutoAttack as published for adversaries, and its like for false friends.
- The new tiers replace the old ones where on the nets of `TEST` they miss no more of what `full`
  finds, for fewer passes; `escalating` is to miss at most 2 of 2,000 images of a net.
"""

from fftune.config import ThreatModel

LEAST = 2
RATE = 1e-6
BUDGET = {"adversarial": 240, "hypocritical": 180}
"""What an image cost that withstood the `screen` chosen by hand: 80 gradients, and 60."""
IMAGES = 200
"""Images of each net and goal in the choice: right ones for an adversary, wrong ones for a false
friend, evenly spread over the test set; all of them where there are fewer."""
FEWER = {"resnet20": 100}
TESTED = 2000
"""Images of each net in the test, evenly spread over the test set, both goals."""

CHOICE: dict[str, tuple[str, ThreatModel]] = {
    "natural_small": ("cifar10", ThreatModel(eps=8 / 255)),
    "resnet20": ("cifar10", ThreatModel(eps=2 / 255)),
    "wk_mnist_0.1": ("mnist", ThreatModel(eps=0.1)),
    "small/cifar10-resnet18-pgd_at": ("cifar10", ThreatModel(eps=8 / 255)),
    "small/cifar10-resnet18-trades-lambda-6": ("cifar10", ThreatModel(norm="l2", eps=0.5)),
    "small/cifar10-resnet18-thrm-lambda-5": ("cifar10", ThreatModel(eps=8 / 255)),
    "small/cifar10-resnet18-thrm-lambda-40": ("cifar10", ThreatModel(eps=8 / 255)),
    "tiny/tiny-imagenet-resnet18-pgd_at": ("digits-rotated", ThreatModel(eps=0.15)),
}
"""Data set and ball of each net that the tiers are chosen on; the last has 40 classes."""
TEST: dict[str, tuple[str, ThreatModel]] = {
    "fastat_small": ("cifar10", ThreatModel(eps=8 / 255)),
    "cifar_resnet2b": ("cifar10", ThreatModel(eps=2 / 255)),
    "fastadv_mnist_pgd": ("mnist", ThreatModel(eps=0.3)),
    "overfitted": ("cifar10", ThreatModel(eps=8 / 255)),
    "tiny/cifar10-resnet18-pgd_at-l2": ("digits", ThreatModel(norm="l2", eps=0.5)),
}
"""Those that they are tested on; the last is of the digits, by its name in the paper."""

APGD_STEPS = (10, 20, 30, 50, 100)
APGD_LOSSES = ("ce", "dlr", "margin", "probability_margin")
TARGETS = (1, 3, 5, 9)
"""Classes that an adversary's DLR, 0 beside these, and FAB aim at."""
FAB_STEPS = (20, 100)
SQUARE_QUERIES = (1000, 5000)
