"""Noise, orders, starts and crops of a device against those of the CPU: equal to the bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from fftune.config import AttackConfig, Augmentation, SmoothingConfig, ThreatModel
from fftune.data.augment import augmented
from fftune.data.sampler import epoch_order, share
from fftune.defenses.smoothing import votes
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import start
from fftune.threefry import normals, threefry
from tests.test_keyed_noise import FAR, SHAPES
from tests.test_threat import CASES
from tests.test_threefry import PUBLISHED, corners, words_of

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda")


@contextmanager
def no_wait() -> Iterator[None]:
    """Raise where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def assert_equal_bits(there: Tensor, here: Tensor) -> None:
    assert there.device.type == "cuda" and there.dtype == here.dtype
    found = there.cpu()
    if here.is_floating_point():
        found, here = found.view(torch.int32), here.view(torch.int32)
    assert torch.equal(found, here)


def test_the_published_answers() -> None:
    for counter, key, words in PUBLISHED:
        drawn = tuple(words_of(torch, [0, word, word]).to(CUDA) for word in counter)
        threefry(torch, drawn, tuple(words_of(torch, [word]).to(CUDA) for word in key))
        for found, word in zip(drawn, words, strict=True):
            assert (found[1:].cpu().numpy().view(np.uint32) == word).all()


def test_normals_of_every_radius_every_angle_and_corners() -> None:
    upper = np.arange(2**24, dtype=np.uint32)
    angles = (upper * np.uint32(0x9E3779B1)) & np.uint32(0xFFFFFF)
    parts = zip(np.split(upper, 16), np.split(angles, 16), strict=True)
    pairs = [(first << 8, (second << 8) + (first & 3)) for first, second in parts]
    for pair in (*pairs, tuple(corners())):
        theirs = normals(torch, *(words_of(torch, words).to(CUDA) for words in pair))
        for found, expected in zip(theirs, normals(np, *pair), strict=True):
            assert_equal_bits(found, torch.from_numpy(expected))


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_are_the_cpus_run_and_replayed(shape: tuple[int, ...]) -> None:
    """Over several keys and ids; the first calls at a shape run, later ones are replays."""
    job = torch.tensor([0, 1, 1, 2, 0, 2, 1, 0])
    for k in range(6):
        ids, jobs = FAR + 7 * k, (k, 2 * k + 1, 9)
        here = ExampleNoise(Noise(k).fold("a", k), ids)
        there = ExampleNoise(here.noise, ids.to(CUDA))
        pairs = [(here, there)]
        turned = (job + k) % 3
        pairs += [
            (
                here.of_jobs("b", jobs=jobs, job=turned),
                there.of_jobs("b", jobs=jobs, job=turned.to(CUDA)),
            )
        ]
        for one, two in pairs:
            assert_equal_bits(two.uniform(shape), one.uniform(shape))
            assert_equal_bits(two.normal(shape), one.normal(shape))


def test_a_batch_of_images_in_parts() -> None:
    ids = torch.arange(2000) * 31
    for shape in ((3, 32, 32), (3, 64, 64)):
        for _ in range(4):
            assert_equal_bits(Noise(1).uniform(ids.to(CUDA), shape), Noise(1).uniform(ids, shape))
            assert_equal_bits(Noise(1).normal(ids.to(CUDA), shape), Noise(1).normal(ids, shape))


@pytest.mark.parametrize("count", [0, 1, 2, 997, 50_000, 1_281_167])
def test_orders_and_shares_are_the_cpus(count: int) -> None:
    noise = Noise(0).fold("train", "cifar10")
    here, there = epoch_order(count, noise, 3), epoch_order(count, noise, 3, CUDA)
    assert_equal_bits(there, here)
    for one, two in zip(share(there, 1, 4, pad=True), share(here, 1, 4, pad=True), strict=True):
        assert_equal_bits(one, two)


@pytest.mark.parametrize(("norm", "kind"), CASES)
def test_starts_are_the_cpus(norm, kind) -> None:
    """To the bit, but where lengths are sums or powers, which devices round in their own way."""
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=0.1), start=kind)
    for k in range(4):
        here = start(x, config, ExampleNoise(Noise(k), FAR))
        there = start(x.to(CUDA), config, ExampleNoise(Noise(k), FAR.to(CUDA)))
        if norm == "linf":
            assert_equal_bits(there, here)
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-6)


def test_noisy_copies_of_a_smoothed_net_are_the_cpus() -> None:
    """Ids stay on the host, as an evaluation has them."""
    x = torch.randint(0, 256, (8, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    given = {"config": SmoothingConfig(sigma=0.5, votes=50), "noise": Noise(2), "ids": FAR}

    def corners(images: Tensor) -> Tensor:
        return images[:, :2, 0, 0]

    here, there = votes(corners, x, **given), votes(corners, x.to(CUDA), **given)
    assert there.device.type == "cuda" and torch.equal(there.cpu(), here)
    assert int(here.min(1).values.max()) > 0


@pytest.mark.parametrize(
    "config",
    [
        Augmentation(crop_padding=4, flip=True),
        Augmentation(crop_padding=2),
        Augmentation(flip=True),
    ],
)
def test_crops_and_flips_are_the_cpus(config: Augmentation) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (300, 3, 32, 32), generator=generator, dtype=torch.uint8)
    ids = torch.arange(300) * 13
    for epoch in range(2):
        there = augmented(pixels.to(CUDA), ids.to(CUDA), config, seed=3, epoch=epoch)
        assert_equal_bits(there, augmented(pixels.clone(), ids, config, seed=3, epoch=epoch))


def test_the_host_waits_for_nothing() -> None:
    x, ids = torch.rand(8, 3, 8, 8, device=CUDA), FAR.to(CUDA)
    job = torch.arange(8, device=CUDA) % 2
    pixels = torch.zeros(8, 3, 8, 8, dtype=torch.uint8, device=CUDA)
    crop = Augmentation(crop_padding=2, flip=True)
    configs = [
        AttackConfig(threat=ThreatModel(norm=norm, eps=0.1), start=kind) for norm, kind in CASES
    ]

    def everything(k: int) -> None:
        noise = ExampleNoise(Noise(k), ids)
        for config in configs:
            start(x, config, noise)
            start(x, config, noise.of_jobs("pgd", jobs=(k, k + 1), job=job))
        share(epoch_order(50_000, Noise(k), 0, CUDA), 0, 3, pad=True)
        augmented(pixels, ids, crop, seed=k, epoch=0)

    for k in range(4):  # libraries load, draws are recorded
        everything(k)
    with no_wait():
        for k in range(4):
            everything(k)
