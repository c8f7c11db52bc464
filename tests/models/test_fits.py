"""Nets that fit their images, nets that do not, and nets without gradients."""

import pytest
import torch
from torch import Tensor, nn

from fftune.errors import ModelError
from fftune.models.fits import check_fit, connected_logits, has_gradients, logits_of


class Answers(nn.Module):
    """A net that is one function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def images(count: int) -> Tensor:
    return torch.linspace(0, 1, 12).view(1, 3, 2, 2).repeat(count, 1, 1, 1)


def of_size(size: int) -> nn.Module:
    return Answers(lambda x: x.reshape(size, 12)[:, :4])


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.zeros(2, 5), "^net tells 5 classes apart, blobs has 4$"),
        (torch.zeros(3, 4), r"^net returned \(3, 4\), expected \(2, 4\)$"),
        (torch.zeros(2), r"^net returned \(2,\), expected \(2, 4\)$"),
        (torch.full((2, 4), torch.inf), "^net returned logits that are not finite$"),
    ],
)
def test_what_is_no_row_of_logits_an_image_is_refused(logits, message) -> None:
    with pytest.raises(ModelError, match=message):
        logits_of(Answers(lambda _: logits), images(2), 4, data="blobs")


def test_logits_carry_no_graph() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    assert not logits_of(net, images(2), 4).requires_grad


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (1, "^net takes batches of 1 but not of 5: "),
        (5, "^net takes batches of 5 but not of 1: "),
        (32, "^net takes batches of 32 but not of 1: "),
        (7, "^net does not take images of 3 x 2 x 2: "),
        (64, "^net does not take images of 3 x 2 x 2: "),  # there are 40
    ],
)
def test_a_net_of_one_size_of_batch_is_told_from_one_of_other_images(size, message) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check_fit(of_size(size), images, 4, sizes=(1, 5), available=40)
    assert "\n" not in str(caught.value)
    check_fit(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), images, 4, sizes=(1, 5))


def test_messages_name_the_net() -> None:
    with pytest.raises(ModelError, match="^model 'mine' does not take images of 3 x 2 x 2: "):
        check_fit(nn.Linear(7, 4), images, 4, name="model 'mine'")


@pytest.mark.parametrize("error", [MemoryError("no room"), torch.OutOfMemoryError("no room")])
def test_memory_is_not_the_net_s_fault(error) -> None:
    def full(_: Tensor) -> Tensor:
        raise error

    with pytest.raises(type(error)):
        check_fit(Answers(full), images, 4)


def test_gradients_lead_from_logits_to_pixels() -> None:
    x = images(2)
    leaf, logits = connected_logits(Answers(lambda x: x.flatten(1)[:, :4] ** 2), x)
    (grad,) = torch.autograd.grad(logits.sum(), leaf)
    assert torch.equal(grad.flatten(1)[:, :4], 2 * x.flatten(1)[:, :4])
    assert torch.equal(leaf, x) and not x.requires_grad


def test_a_zero_gradient_is_one_and_a_detached_input_has_none() -> None:
    assert has_gradients(Answers(lambda x: 0 * x.flatten(1)), images(1))
    assert not has_gradients(Answers(lambda x: x.detach().flatten(1)), images(1))


def test_a_net_that_writes_into_its_input_is_given_its_own() -> None:
    x = images(1)
    assert has_gradients(Answers(lambda x: x.mul_(2).flatten(1)), x)
    assert torch.equal(x, images(1))
