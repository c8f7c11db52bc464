"""Flags that nothing would read: refused, so that nobody believes a setting that did nothing."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_type_hints

from fftune.config import (
    AttackConfig,
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    OptimizerConfig,
    Resources,
    StoppingConfig,
    Study,
    TrainConfig,
    WriteConfig,
)
from fftune.errors import ConfigError
from fftune.registry import is_of_file, label

HEDGES = ("norm", "eps_d", "steps", "step_size", "clamp")
SEARCH = ("steps", "step_size", "start", "targets")
SCHEDULED = {"step": ("milestones", "decay"), "linear": ("knots",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Settings of a class that not all of its other values read."""

    settings: tuple[str, ...]
    read: Callable[[Any], Collection[str]]
    """Those that are read, by an instance."""
    why: Callable[[Any], str]
    """Reason that the others are not."""


def refuse_idle(command: Any, default: Any) -> None:
    """Refuse a flag whose setting nothing reads.

    Args:
        default: the command without flags; what differs was said by a flag.

    Raises:
        ConfigError: the message names the setting and who does not read it.
    """
    searched = _searched(command)
    for path, now, was in _pairs(_with_names(command), _with_names(default), ""):
        if searched and path.startswith("base."):
            continue  # another trial's values may read it
        for rule in _rules(now):
            said = [name for name in rule.settings if _differ(now, was, name)]
            if said and (idle := [name for name in said if name not in rule.read(now)]):
                raise ConfigError(f"{path}{idle[0]} must be left out, as {rule.why(now)}")
    if isinstance(config := getattr(command, "config", command), TrainConfig):
        _refuse_attack("attack.", config, getattr(default, "config", default))
    elif isinstance(base := getattr(config, "base", None), TrainConfig) and not searched:
        _refuse_attack("base.attack.", base, default.config.base)


def _with_names(command: Any) -> Any:
    """The command with its one `defense`, as of `fftune doctor`, among the names in `settings`."""
    settings = getattr(command, "settings", None)
    if not isinstance(settings, DefenseConfig):
        return command
    return replace(command, settings=replace(settings, names=(command.defense,)))


def refuse_resources(resources: Resources, why: str) -> None:
    """Refuse the settings of a cluster where nothing is spread over one.

    Raises:
        ConfigError: one is said.
    """
    for name in ("address", "concurrency"):
        if getattr(resources, name) is not None:
            raise ConfigError(f"{name} must be left out, as {why}")


def _refuse_attack(path: str, config: TrainConfig, default: TrainConfig) -> None:
    """Refuse settings of an attack that the objective does not run; its ball judges, too."""
    names = [one.name for one in fields(AttackConfig) if one.name != "threat"]
    said = [name for name in names if _differ(config.attack, default.attack, name)]
    if said and not _crafts(config):
        why = f"objective {config.objective!r} perturbs no images"
        raise ConfigError(f"{path}{said[0]} must be left out, as {why}")


def _crafts(config: TrainConfig) -> bool:
    """Training perturbs images; a function of the user's may."""
    if is_of_file(config.objective):
        return True
    from fftune.objectives import find_objective

    return find_objective(config.objective).crafting is not None


def _searched(command: Any) -> bool:
    """A study names what it searches, so that its base does not say all values."""
    return bool(getattr(getattr(command, "config", None), "space", ()))


def _pairs(now: Any, was: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Dataclasses of a command, by the paths of their flags, each with its default."""
    yield prefix, now, was
    hints = get_type_hints(type(now), include_extras=True)
    for one in fields(now):
        inner, before = getattr(now, one.name), getattr(was, one.name)
        if is_dataclass(inner) and type(inner) is type(before):
            extras = getattr(hints[one.name], "__metadata__", ())
            nameless = any(getattr(extra, "name", None) == "" for extra in extras)
            yield from _pairs(inner, before, prefix if nameless else f"{prefix}{one.name}.")


def _differ(now: Any, was: Any, name: str) -> bool:
    return bool(getattr(now, name, None) != getattr(was, name, None))


def _rules(config: Any) -> list[Rule]:
    return [rule for kind, rule in RULES.items() if isinstance(config, kind)]


def _of_battery(config: BatteryConfig) -> Collection[str]:
    from fftune.evaluation.batteries import battery_spec

    return ("steps",) if battery_spec(config.name).reads_steps else ()


def _of_attack(config: AttackConfig) -> Collection[str]:
    from fftune.attacks import attack_spec

    reads = attack_spec(config.search).reads
    return SEARCH if reads is None else reads


def _of_optimizer(config: OptimizerConfig) -> Collection[str]:
    lr = () if config.schedule == "linear" else ("lr",)
    momentum = ("momentum",) if config.algorithm == "sgd" else ()
    return (*SCHEDULED.get(config.schedule, ()), *lr, *momentum)


def _of_objective(config: TrainConfig) -> Collection[str]:
    from fftune.objectives import find_objective

    weighted = is_of_file(config.objective) or find_objective(config.objective).weighted
    return (*(("lam",) if weighted else ()), *(("min_workers",) if config.workers > 1 else ()))


def _of_defenses(config: DefenseConfig) -> Collection[str]:
    from fftune.defenses.spec import defense_spec

    specs = [defense_spec(name) for name in config.names if name != "none"]
    if any(spec.reads is None for spec in specs):
        return HEDGES
    return [name for spec in specs for name in spec.reads or ()]


def _of_strategy(config: Study) -> Collection[str]:
    from fftune.sweeping.samplers.spec import sampler_spec

    reads = sampler_spec(config).reads
    lam = () if config.space else ("lam",)
    return (*(("trials", "margin", "sampler_seed") if reads is None else reads), *lam)


def _strategy(config: Study) -> str:
    from fftune.sweeping.samplers.spec import strategy_of

    return f"strategy {strategy_of(config)!r} of this space does not read it"


RULES: Mapping[type, Rule] = {
    BatteryConfig: Rule(
        settings=("steps",),
        read=_of_battery,
        why=lambda config: f"battery {label(config.name)!r} has lengths of its own",
    ),
    AttackConfig: Rule(
        settings=SEARCH,
        read=_of_attack,
        why=lambda config: f"attack {label(config.search)!r} does not read it",
    ),
    OptimizerConfig: Rule(
        settings=("milestones", "decay", "knots", "lr", "momentum"),
        read=_of_optimizer,
        why=lambda config: (
            f"neither schedule {config.schedule!r} nor algorithm {config.algorithm!r} reads it"
        ),
    ),
    TrainConfig: Rule(
        settings=("lam", "min_workers"),
        read=_of_objective,
        why=lambda config: (
            f"objective {config.objective!r} with {config.workers} workers does not read it"
        ),
    ),
    DefenseConfig: Rule(
        settings=HEDGES,
        read=_of_defenses,
        why=lambda config: f"no hedge is among defenses {', '.join(config.names) or 'none'}",
    ),
    Study: Rule(
        settings=("trials", "margin", "sampler_seed", "lam", "one_net_length"),
        read=_of_strategy,
        why=_strategy,
    ),
    StoppingConfig: Rule(
        settings=("eta", "rule", "examples", "steps"),
        read=lambda config: ("eta", "rule", "examples", "steps") if config.rungs else (),
        why=lambda _config: "stopping.rungs are none",
    ),
    DataSpec: Rule(
        settings=("image_resize",),
        read=lambda config: ("image_resize",) if config.image_size else (),
        why=lambda _config: "image_size is not given",
    ),
    WriteConfig: Rule(
        settings=("quality", "image_resize"),
        read=lambda config: (
            *(("quality",) if config.mode != "raw" else ()),
            *(("image_resize",) if config.image_size else ()),
        ),
        why=lambda config: f"mode {config.mode!r} and image_size {config.image_size} leave it out",
    ),
}
"""Rules by the class of the settings."""
