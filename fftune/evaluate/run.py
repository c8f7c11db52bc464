"""From a net and a split to rows, a block at a time."""

import pyarrow as pa
import torch
from torch import Tensor, nn

from fftune.attacks import SEARCHES, success
from fftune.config import BatteryConfig, DataSpec, ModelSpec, Split, ThreatModel, config_hash
from fftune.data import load
from fftune.data.dataset import Batch
from fftune.errors import ModelError
from fftune.evaluate.battery import Probe, probes
from fftune.models import eval_mode, load_model
from fftune.noise import Noise
from fftune.outcomes import Outcomes, rows
from fftune.threat import distance


def evaluate(
    model: ModelSpec, data: DataSpec, battery: BatteryConfig, *, threat: ThreatModel, split: Split
) -> Outcomes:
    """Attack every example of a split with every probe of a battery.

    Raises:
        ModelError: the net does not return finite logits, a row an example.
    """
    net, dataset = load_model(model), load(data, split)
    subject = {"dataset_hash": dataset.hash(), "split": split, "model_hash": model.hash}
    noise = Noise(battery.seed).fold(dataset.source.name, split)
    blocks = [
        attack_block(net, block, probe, noise=noise, subject=subject)
        for block in dataset.batches(battery.block_size)
        for probe in probes(battery, threat)
    ]
    return Outcomes.of(blocks)


def attack_block(
    model: nn.Module, block: Batch, probe: Probe, *, noise: Noise, subject: dict[str, str]
) -> pa.Table:
    """The rows of one probe on one block, which depend on nothing but the arguments.

    The verdict is taken from the stored perturbed inputs, the whole block at once.

    Args:
        noise: the branch for (data set, split).
        subject: the columns that say what is judged: `dataset_hash`, `split`, `model_hash`.
    """
    ids, x, y = block
    with eval_mode(model):
        pred_clean = predict(model, x)
        x_pert = SEARCHES[probe.config.search](
            model, x, y, config=probe.config, goal=probe.goal, loss=probe.loss, noise=noise, ids=ids
        )
        pred_pert = predict(model, x_pert)
    return rows(
        len(ids),
        {
            **subject,
            "id": ids.numpy(),
            "attack": probe.attack,
            "config_hash": config_hash(probe.config),
            "norm": probe.config.threat.norm,
            "eps": probe.config.threat.eps,
            "goal": probe.goal,
            "target": y.numpy() if probe.goal == "hypocritical" else -1,
            "seed": noise.seed,
            "restart": 0,
            "protocol": "fixed",
            "tier": "full",
            "defense": "none",
            "defense_repeat": 0,
            "y": y.numpy(),
            "pred_clean": pred_clean.numpy(),
            "pred_pert": pred_pert.numpy(),
            "success": success(probe.goal, pred_pert, pred_clean, y).numpy(),
            "queries": 0,
            "forwards": probe.config.steps,
            "backwards": probe.config.steps,
            "distance": distance(x_pert, x, probe.config.threat.norm).numpy(),
            "status": "ok",
        },
    )


def predict(model: nn.Module, x: Tensor) -> Tensor:
    """(B,) int64, the class of the largest logit.

    Raises:
        ModelError: the output is not (B, K), or holds a nan or an infinity.
    """
    with torch.no_grad():
        logits: Tensor = model(x)
    if logits.dim() != 2 or len(logits) != len(x):
        raise ModelError(f"net returned {tuple(logits.shape)}, expected ({len(x)}, classes)")
    if not logits.isfinite().all():
        raise ModelError("net returned logits that are not finite")
    return logits.argmax(1)
