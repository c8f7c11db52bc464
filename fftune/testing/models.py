"""Conformance test of nets."""

import torch

from fftune.config import InputSpec
from fftune.models import eval_mode, make_model, weights_hash
from fftune.models.fits import check_fit, has_gradients
from fftune.testing.examples import left_alone, random_images

INPUTS = InputSpec(shape=(3, 32, 32), classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
TOLERANCE = 1e-4


def check_model(model: str, *, inputs: InputSpec = INPUTS, width: int | None = None) -> None:
    """Check a net as training builds it, in eval mode.

    It must return finite logits of the classes, leave the images as they are, connect logits and
    pixels by gradients, predict each example whatever else is in its batch, have weights that its
    seed determines, and be the same net after its state_dict is loaded.

    Args:
        model: a name, or `FILE.py:NAME`, a `ModelEntry` or a function without arguments.
        inputs: the images that it is built for.
        width: channels of its first stage; None builds the published net.

    Raises:
        AssertionError: it does not conform; the message says how.
        ConfigError, ModelError: there is no such net, or it does not take the images.
    """
    net, again = (make_model(model, inputs, seed=seed, width=width) for seed in (0, 0))
    assert weights_hash(net) == weights_hash(again), "the same seed must give the same weights"
    x = random_images(4, inputs.shape, seed=0)
    with eval_mode(net):
        check_fit(net, lambda count: x[:count], inputs.classes, sizes=(1, 4), available=4)
        with left_alone(net, x), torch.no_grad():
            together = net(x)
        alone = torch.cat([net(image).detach() for image in x.split(1)])
        apart = float((together - alone).abs().max())
        assert apart <= TOLERANCE * max(1.0, float(together.abs().max())), (
            "an example's logits must not depend on the other examples of its batch"
        )
        assert has_gradients(net, x), "gradients must lead from the logits to the pixels"
    other = make_model(model, inputs, seed=1, width=width)
    other.load_state_dict(net.state_dict())
    with eval_mode(net), eval_mode(other), torch.no_grad():
        assert torch.equal(net(x), other(x)), "its state_dict must hold all that its logits need"
