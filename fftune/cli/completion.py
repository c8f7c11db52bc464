"""Completion scripts for shells: verbs, recipes, flags and the values of those that are words.

Each script is whole: a shell that completes starts no Python.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fftune import recipes
from fftune.cli import data, doctor, evaluate, report, reproduce, sweep, train, view
from fftune.cli.flags import Flag, first_sentence, flags_of
from fftune.cli.help_page import EVERY_FLAG, Manual
from fftune.cli.verbs import FLAGS, VERBS
from fftune.errors import ConfigError
from fftune.registry import OBJECTIVES, PAPERS, nearest

BASH = """\
_fftune() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}} flag= words= at
    for ((at = COMP_CWORD - 1; at > 1; at--)); do
        if [[ ${{COMP_WORDS[at]}} == -* ]]; then
            flag=${{COMP_WORDS[at]}}
            break
        fi
    done
    if ((COMP_CWORD == 1)); then
        words="{verbs}"
    elif [[ $cur == -* ]]; then
        case $verb in
{flags}
        esac
    else
        case "$verb $flag" in
{values}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _fftune fftune
"""
ZSH = """\
autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""
"""zsh completes by the script for bash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A verb, the words that may follow it, and its flags."""

    name: str
    words: tuple[str, ...]
    flags: tuple[Flag, ...]


def script(shell: str) -> str:
    """The script that makes a shell complete `fftune`.

    Raises:
        ConfigError: there is none for this shell.
    """
    if shell not in SHELLS:
        raise ConfigError(
            f"print-completion must be a shell, got {shell!r}; {nearest(shell, SHELLS)}"
        )
    return SHELLS[shell](_verbs())


def _verbs() -> list[Verb]:
    """Every verb; a study's of any kind have their flags together."""
    made: dict[str, tuple[Iterable[str], Iterable[Flag]]] = {
        "data": (data.VERBS, flags_of(data.Write)),
        "train": ((*OBJECTIVES, train.OFFICIAL), _of(train.Train, train.MANUAL)),
        "sweep": (recipes.RECIPES, sweep.all_flags()),
        "evaluate": ((), _of(evaluate.Evaluate, evaluate.MANUAL)),
        "reproduce": (("P1", "P2", "all", *PAPERS), _of(reproduce.Reproduce, reproduce.MANUAL)),
        "doctor": ((), _of(doctor.Doctor, doctor.MANUAL)),
        "view": ((), flags_of(view.View, view.View(name="STUDY"), {})),
        "report": ((), _of(report.Report, report.MANUAL)),
    }
    return [
        Verb(
            name=name,
            words=tuple(words),
            flags=tuple(flag for flag in flags if flag.names[-1].startswith("-")),
        )
        for name, (words, flags) in ((name, made.get(name, ((), ()))) for name in VERBS)
    ]


def _of(cls: type, manual: Manual) -> list[Flag]:
    return flags_of(cls, None, manual.short)


def _bash(verbs: Iterable[Verb]) -> str:
    flags, values = [], []
    for verb in verbs:
        names = [name for flag in verb.flags for name in flag.names]
        flags.append(f'        {verb.name}) words="{" ".join([*names, *EVERY_FLAG])}" ;;')
        for flag in verb.flags:
            if flag.choices:
                cases = "|".join(f'"{verb.name} {name}"' for name in flag.names)
                values.append(f'        {cases}) words="{" ".join(flag.choices)}" ;;')
        if verb.words:
            values.append(f'        "{verb.name} ") words="{" ".join(verb.words)}" ;;')
    return BASH.format(
        verbs=" ".join([*VERBS, *FLAGS]), flags="\n".join(flags), values="\n".join(values)
    )


def _zsh(verbs: Iterable[Verb]) -> str:
    return ZSH + _bash(verbs)


def _fish(verbs: Iterable[Verb]) -> str:
    names = " ".join(VERBS)
    first = f"complete -c fftune -n 'not __fish_seen_subcommand_from {names}'"
    lines = [f"{first} -f -a {name} -d {_quoted(VERBS[name].help)}" for name in VERBS]
    lines += [f"{first} -l {name.lstrip('-')}" for name in FLAGS]
    for verb in verbs:
        after = f"complete -c fftune -n '__fish_seen_subcommand_from {verb.name}'"
        if verb.words:
            lines.append(f"{after} -a {_quoted(' '.join(verb.words))}")
        for flag in verb.flags:
            alone = "-r" if flag.known or not flag.choices else "-x"  # -r: files, too
            words = f" -a {_quoted(' '.join(flag.choices))}" if flag.choices else ""
            value = f" {alone}{words}"
            lines += [
                f"{after} -l {name.lstrip('-')}{value if flag.value else ''} "
                f"-d {_quoted(first_sentence(flag.meaning))}"
                for name in flag.names
            ]
            if words and flag.value.endswith("..."):
                lines += [f"{_further(verb.name, name)}{words}" for name in flag.names]
        lines += [f"{after} -l {name.lstrip('-')}" for name in EVERY_FLAG]
    return "\n".join(lines) + "\n"


def _further(verb: str, name: str) -> str:
    """Beginning of a line of fish for a flag's second value and those after it."""
    typed = _quoted(f" {name}( [^ -][^ ]*)+ [^ ]*$")
    behind = f"string match -rq -- {typed} (commandline -cp)"
    condition = _quoted(f"__fish_seen_subcommand_from {verb}; and {behind}")
    return f"complete -c fftune -n {condition} -f"


def _quoted(text: str) -> str:
    """A text in fish's single quotes, in which a backslash keeps itself and a quote."""
    kept = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{kept}'"


SHELLS: dict[str, Callable[[Iterable[Verb]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
