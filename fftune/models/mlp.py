"""The MLP of Tao et al. 2022, appendix A, in the two ways that it can be read."""

from torch import Tensor, nn

from fftune.config import Constants, InputSpec
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize, he_linear

WIDTH = 3072


class MLP(nn.Module):
    """Linear layers on the flattened image.

    "A four-layer MLP (2 hidden layers, 3072 neurons in each) with ReLU activations" (Tao et al.
    2022, appendix A). "paper": three linear layers with a ReLU between each two, He initialised;
    18,911,242 parameters on CIFAR-10. "code": four linear layers, of which only the first is
    followed by a ReLU, initialised as torch does; 28,351,498.
    """

    def __init__(
        self, inputs: InputSpec, *, width: int | None = None, constants: Constants = "paper"
    ) -> None:
        super().__init__()
        channels, height, breadth = inputs.shape
        pixels, width = channels * height * breadth, width or WIDTH
        first, last = nn.Linear(pixels, width), nn.Linear(width, inputs.classes)
        if constants == "code":
            hidden: list[nn.Module] = [nn.Linear(width, width), nn.Linear(width, width)]
        else:
            hidden = [nn.Linear(width, width), nn.ReLU()]
        normalize = Normalize(inputs.mean, inputs.std)
        self.layers = nn.Sequential(normalize, nn.Flatten(), first, nn.ReLU(), *hidden, last)
        if constants == "paper":
            he_linear(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


ENTRY = ModelEntry(build=MLP, two_readings=True)
