"""What a net is called can name a file."""

import pytest

from fftune.config import ModelSpec
from fftune.names import is_plain


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
        ("net.py:net", "studies/front/trials/3/checkpoint/weights.pt", "front-3"),
        ("net.py:net", "studies/front/trials/3/seeds/0/checkpoint/weights.pt", "front-3-0"),
        ("net.py:net", "/w/epochs/12.pt", "epochs-12"),
        ("net.py:net", "/w/12.5.pt", "12.5"),
        ("net.py:net:3", "", "net-3"),
        ("net.py:load:/home/me/3", "", "load-3"),
        ("net.py:load:v3", "", "v3"),
        ("fftune:small_cnn", "", "small_cnn"),
    ],
)
def test_a_label_is_plain_whatever_the_argument(factory, weights, label) -> None:
    found = ModelSpec(factory=factory, weights=weights).label
    assert found == label and is_plain(found)
    assert len(found.encode()) <= 80


def test_a_trial_is_told_by_its_study_from_wherever_it_is_named(tmp_path, monkeypatch) -> None:
    trials = tmp_path / "studies" / "front" / "trials"
    trials.mkdir(parents=True)
    monkeypatch.chdir(trials)
    assert ModelSpec(factory="net.py:net", weights="3/checkpoint/weights.pt").label == "front-3"
