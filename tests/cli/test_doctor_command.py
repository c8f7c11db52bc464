import subprocess
import sys

import pytest

from fftune.cli.doctor import main
from fftune.errors import ConfigError, ModelError

FILE = """
import torch
from torch import nn

class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(x.detach().flatten(1))

def detached():
    return Detached()

def five():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
"""


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        ([], ConfigError, "CHECKPOINT is missing"),
        (["--data", "digits"], ConfigError, "model is missing"),
        (["{folder}/nothing"], ModelError, "no complete checkpoint"),
        (["--model", "{folder}/m.py:five", "--defense", "hedg"], ConfigError, "hedg"),
        (["--model", "{folder}/m.py:five", "--settings.eps-d=-1"], ConfigError, "eps_d must be"),
        (["--model", "{folder}/m.py:five", "--examples", "8"], ModelError, "tells 5 classes apart"),
    ],
)
def test_bad_input_is_one_line(tmp_path, flags, error, message) -> None:
    (tmp_path / "m.py").write_text(FILE)
    with pytest.raises(error, match=message) as caught:
        main([flag.format(folder=tmp_path) for flag in flags])
    assert "\n" not in str(caught.value)


def test_a_net_without_gradients_fails_and_the_five_are_not_looked_for(tmp_path, capsys) -> None:
    (tmp_path / "m.py").write_text(FILE)
    for defense in ("none", "hedge"):
        net = ["--model", f"{tmp_path / 'm.py'}:detached", "--examples=8", f"--defense={defense}"]
        with pytest.raises(SystemExit) as stop:
            main(net)
        assert stop.value.code == 1
        said = " ".join(capsys.readouterr().out.split())
        assert "FAIL* gradients the net has no input gradients" in said
        assert "obfuscated gradients: not looked for" in said and "one step" not in said


def test_help_answers_without_the_heavy_frameworks() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "fftune.doctor", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: python -m fftune.doctor CHECKPOINT" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"torch", "ray", "mlflow"}
