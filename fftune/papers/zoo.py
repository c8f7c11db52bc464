"""Published nets of which users have the weights: rows of tables of Wu et al. 2021."""

from dataclasses import dataclass

from fftune.config import Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooNet:
    """A published net: how to build it, where its weights are, and what it was judged on."""

    name: str
    """Its identifier, RobustBench's where it has one."""
    factory: str
    """`fftune:NAME`, `path/to/FILE.py:FUNCTION`, or `robustbench:ID`."""
    weights: str = ""
    """Path of its state_dict; empty where the factory loads them."""
    data: str = "cifar10"
    norm: Norm = "linf"
    eps: float | None = None
    """Radius; None: the norm's own."""
    tables: tuple[str, ...] = ()
    """Keys of the tables that it is a row of."""

    def __str__(self) -> str:
        return self.name
