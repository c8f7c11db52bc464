import pytest

from fftune.errors import ConfigError
from fftune.papers.zoo import is_here, missing, packaged_zoo, read_zoo, zoo_of

NET = """
[[net]]
name = "small"
factory = "nets.py:make"
weights = "small.pt"
eps = "8/255"
tables = ["P2.T1"]
published = { "Hedge" = { "AutoAttack" = 61.28, "PGD" = 58 } }
"""
FOREIGN = """
[[net]]
name = "Wu2020Adversarial"
factory = "robustbench:Wu2020Adversarial"
weights = "small.pt"
data = "cifar100"
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "nets.py").touch()
    (tmp_path / "small.pt").touch()

    def write(text):
        path = tmp_path / "zoo.toml"
        path.write_text(text)
        return path

    return write


def test_a_net_as_it_is_written(write, tmp_path) -> None:
    (net,) = read_zoo(write(NET))
    assert net.factory == f"{tmp_path}/nets.py:make"
    assert net.weights == f"{tmp_path}/small.pt"
    assert net.eps == 8 / 255
    assert (net.data, net.norm, net.tables) == ("cifar10", "linf", ("P2.T1",))
    assert net.published == (("hedge", "autoattack", 61.28), ("hedge", "pgd-20", 58.0))
    assert is_here(net)
    assert {net: 1}[net] == 1  # a declaration: it has a hash


def test_an_identifier_stands_for_its_data_and_norm(write) -> None:
    theirs, l2 = read_zoo(write(FOREIGN + FOREIGN + 'norm = "l2"\neps = 0.5\n'))
    assert theirs.factory == "robustbench:cifar100/Linf/Wu2020Adversarial"
    assert l2.factory == "robustbench:cifar100/L2/Wu2020Adversarial"
    assert (str(theirs), str(l2)) == ("Wu2020Adversarial cifar100", "Wu2020Adversarial cifar100 l2")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "weights =",
            "wieghts =",
            "net 'small': unknown setting 'wieghts'; did you mean 'weights'",
        ),
        ('name = "small"\n', "", "net 'number 1': name is missing"),
        ('"small"', "7", "net 7: name: .*string, got 7"),
        ('"8/255"', '"eight"', "net 'small': eps must be a number or a fraction, got 'eight'"),
        ('"8/255"', "-1", "net 'small': eps must be .*>= 0, got -1"),
        ("58", '"58"', "net 'small': published.Hedge.PGD: .*number, got '58'"),
        ("58", "158", "net 'small': published must be percents, from 0 to 100, got 158"),
        ("Hedge", "Hegde", "net 'small': published: unknown row 'Hegde'; did you mean 'Hedge'"),
        ("PGD", "PDG", "net 'small': published: unknown column 'PDG'; did you mean 'PGD'"),
        ('tables = ["P2.T1"]', 'tables = "P2.T1"', "net 'small': tables: .*got 'P2.T1'"),
        ("P2.T1", "P2.T11", "net 'small': tables must be known: .*'P2.T11'; did you mean 'P2.T1"),
        ("eps =", 'norm = "l1"\neps =', "net 'small': norm: .*'linf' or 'l2', got 'l1'"),
        ("eps =", 'data = "cifra10"\neps =', "'cifra10'; did you mean 'cifar10'"),
        ("nets.py:make", "resnet18", "net 'small': factory must be fftune:NAME, .*got 'resnet18'"),
        ("nets.py:make", "fftune:resent18", "'resent18'; did you mean 'resnet18'"),
        ("nets.py:make", "gone.py:make", "net 'small': factory must be .*exists, got .*gone.py"),
        ('weights = "small.pt"', "", ""),
        ('"small.pt"', '"gone.pt"', r"weights are missing: small \(.*/gone.pt\)$"),
        ("[[net]]", "[[nets]]", "unknown table 'nets'; did you mean 'net'"),
        ("[[net]]", "[net]", r"must hold tables \[\[net\]\]"),
        ('"small.pt"', '"small.pt', r"zoo.toml' is not TOML: .*line 5"),
    ],
)
def test_a_mistake_is_one_line(write, old, new, told) -> None:
    path = write(NET.replace(old, new))
    if not told:  # a function may load its weights
        assert read_zoo(path)[0].weights == ""
        return
    with pytest.raises(ConfigError, match=told) as error:
        read_zoo(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_published_net_needs_weights(write) -> None:
    with pytest.raises(ConfigError, match="weights must be given for factory 'robustbench:Wu"):
        read_zoo(write(FOREIGN.replace('weights = "small.pt"', "")))


def test_a_net_is_there_once(write) -> None:
    with pytest.raises(ConfigError, match="net 'small': name must be once for cifar10 and linf"):
        read_zoo(write(NET + NET))


def test_there_is_no_such_file(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_zoo(tmp_path / "zoo.toml")


def test_the_published_nets(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    nets = packaged_zoo()
    rows = {key: sum(key in net.tables for net in nets) for key in ("P2.T1", "P2.T2", "P2.T5")}
    assert rows == {"P2.T1": 8, "P2.T2": 2, "P2.T5": 17}
    assert sum(net.norm == "l2" and net.eps == 0.5 for net in nets) == 3
    assert zoo_of("tiny", ()) == ()
    assert zoo_of("full", ()) == nets
    assert zoo_of("full", nets[:1]) == nets[:1]
    file = tmp_path / "weights/cifar10/Linf/Standard.pt"
    gone = missing(nets)
    assert f"Standard ({file})" in gone
    file.parent.mkdir(parents=True)
    file.touch()
    assert missing(nets) == [line for line in gone if not line.startswith("Standard ")]
