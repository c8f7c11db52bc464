"""What `linf_dist` needs of a training loop: a growing p, its own loss, its own weight decay."""

from dataclasses import dataclass

from torch import Tensor, nn

from fftune.config import TrainConfig
from fftune.models import linf_schedules as linf_recipe
from fftune.models.linf_dist import LinfDist


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceTraining:
    """The recipe of Zhang et al. (2021), which Tao et al. 2022, appendix G, follow."""

    model: LinfDist
    weight_decay: float
    steps: int
    """Of the whole run."""
    threshold: float
    """Of the hinge: what certifies a margin against the training's radius."""

    @classmethod
    def of(cls, model: nn.Module, config: TrainConfig, steps: int) -> "DistanceTraining | None":
        """None unless the objective is this net's own."""
        if config.objective != "hinge":
            return None
        assert isinstance(model, LinfDist)  # the config has refused all others
        return cls(
            model=model,
            weight_decay=config.optimizer.weight_decay,
            steps=steps,
            threshold=2 * linf_recipe.EPS_TRAIN * model.lipschitz,
        )

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """The mixed hinge, a scalar."""
        return linf_recipe.hinge_mix(logits, y, threshold=self.threshold)

    def before_step(self, done: int) -> None:
        """Raise p, after so many steps."""
        self.model.set_p(linf_recipe.p_at(done / self.steps))

    def before_update(self, lr: float) -> None:
        """Let the weights decay, each neuron's by themselves."""
        self.model.decay(lr * self.weight_decay)

    def finish(self) -> None:
        """Only at p = infinity does the certificate hold."""
        self.model.set_p(linf_recipe.p_at(1.0))
