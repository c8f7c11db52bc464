"""What a net is called can name a file."""

import pytest

from fftune.config import ModelSpec, is_plain


@pytest.mark.parametrize(
    ("factory", "weights", "label"),
    [
        ("net.py:resnet", "", "resnet"),
        ("net.py:load:small", "", "small"),
        ("net.py:load:/home/me/w.pt", "", "w.pt"),
        ("net.py:load:../../w.pt", "", "w.pt"),
        (r"net.py:load:C:\nets\w.pt", "", "w.pt"),
        ("net.py:load:..", "", "net"),
        ("net.py:load:", "", "net"),
        ("net.py:load:a b\n'c'", "", "a-b--c"),
        ("net.py:load:" + "x" * 300, "", "x" * 80),
        ("net.py:load:größe", "", "größe"),
        ("net.py:net", "/w/bob's.pt", "bob-s"),
        ("net.py:net", "runs/thrm-tiny/checkpoint/weights.pt", "thrm-tiny"),
        ("net.py:net", "/checkpoint/weights.pt", "weights"),
    ],
)
def test_a_label_is_plain_whatever_the_argument(factory, weights, label) -> None:
    found = ModelSpec(factory=factory, weights=weights).label
    assert found == label and is_plain(found)
    assert len(found.encode()) <= 80
