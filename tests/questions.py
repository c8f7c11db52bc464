"""A question that rows may answer, for tests of what is said of it."""

from fftune.evaluation.question import Question

ASKED = Question(
    net="fastat_small",
    model_hash="1a2b3c4d5e6f7081",
    code="c",
    data="cifar10",
    dataset_hash="d",
    split="test",
    examples=1000,
    available=10000,
    classes=("cat", "dog"),
    norm="linf",
    eps=8 / 255,
    clamp=True,
    battery="nine",
    tier="full",
    attacks=("pgd-20", "cw"),
    suite="s",
    precision="fp32",
    device="cpu",
    threads=1,
    block_size=256,
    seed=0,
    defenses=(),
    repeats=0,
    engine=2,
    remarks=(),
)
