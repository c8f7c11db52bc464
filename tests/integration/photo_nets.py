"""A net for 50 classes of photographs, as a user's own file holds it."""

from torch import nn

from fftune.config import InputSpec
from fftune.models import make_model

INPUTS = InputSpec(
    shape=(3, 32, 32), classes=50, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)


def narrow() -> nn.Module:
    return make_model("resnet50", INPUTS, width=4, seed=1)
