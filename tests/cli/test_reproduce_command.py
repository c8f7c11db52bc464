"""`fftune.reproduce` as a new user calls it: each mistake is one line, before anything starts."""

import pytest

from fftune.cli.reproduce import main
from fftune.errors import UserError

ZOO = '[[net]]\nname = "a"\nfactory = "robustbench:Standard"\n'


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "KEY is missing"),
        ("P1.T99", "key 'P1.T99' is no table or figure; did you mean 'P1.T9'?"),
        ("P1.T10 --seeds 0", "seeds must be >= 1, got 0"),
        ("P1.T10 --only P2.*", "only P2.* leaves nothing of P1.T10"),
        ("P1.T10 --only", "only must have a value"),
        ("P1.T10 --pictures", "pictures must have a value"),
        ("P1.T10 --pictures gif", "pictures must be one of png, pdf, got 'gif'"),
        ("P1.T10 --limits analized 5", "limits: unknown name 'analized'; did you mean"),
        ("P1.T10 --zoo gone.toml", "zoo 'gone.toml' cannot be read: No such file"),
        ("P1.T10 --zoo wrong.toml", "zoo 'wrong.toml': net 'a': unknown setting 'wieghts'; did"),
        ("P1.T10 --zoo bare.toml", "zoo 'bare.toml': weights are missing: a ("),
        pytest.param(
            "P2.T2 --scale full",
            "weights of 2 published nets (about 1.3 GB) are not there: Gowal",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_mistake_is_one_line(flags: str, message: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    (tmp_path / "wrong.toml").write_text(f'{ZOO}wieghts = "a.pt"\n')
    (tmp_path / "bare.toml").write_text(f'{ZOO}weights = "a.pt"\n')
    with pytest.raises(UserError) as refused:
        main([*flags.split(), "--storage", str(tmp_path)])
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "papers").exists()
