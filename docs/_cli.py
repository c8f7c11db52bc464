"""Reference of the command line, from the flags that help shows: every verb's, as Markdown."""

from fftune import recipes
from fftune.cli import (
    audit,
    data,
    doctor,
    evaluate,
    gate,
    report,
    reproduce,
    sweep,
    train,
    usage,
    view,
)
from fftune.cli.flags import Flag, flags_of
from fftune.cli.help_page import Manual, invocation
from fftune.config.study import kind_record

HEAD = """# The command line

`fftune VERB` and `python -m fftune.VERB` are the same. Results go to stdout, the log to stderr.
Exit codes: 0; 2 for a user's mistake (one line, no traceback); 1 for a failed run; 130 for Ctrl-C;
a verdict is 0 for PASS, 3 for FAIL and 4 for INCONCLUSIVE.

`fftune VERB --help` shows on one screen what is used most, `--help-all` everything, and
`--help-all SECTION` one section of it. A shell completes verbs, recipes, flags and their values
after one of:

```bash
eval "$(fftune --print-completion bash)"                                      # in ~/.bashrc
eval "$(fftune --print-completion zsh)"                                       # in ~/.zshrc
fftune --print-completion fish > ~/.config/fish/completions/fftune.fish
```

A flag whose setting nothing would read, as `--battery.steps` of a battery with lengths of its own,
is refused. This page is made from the parsers when the documentation is built.
"""


def _study(name: str, manual: Manual) -> tuple[Manual, list[Flag]]:
    config = recipes.study(name, "tiny")
    made = sweep._command_type(kind_record(config.kind), type(config))
    return manual, flags_of(made, made(config=config), manual.short)


def _command(cls: type, default: object, manual: Manual) -> tuple[Manual, list[Flag]]:
    return manual, flags_of(cls, default, manual.short)


def _pages() -> dict[str, tuple[Manual, list[Flag], str]]:
    """Commands with their flags, and a remark."""
    trained = train._default("thrm", train.Settings())
    return {
        "train thrm": (
            *_command(train.Train, trained, train.MANUAL),
            "Every other recipe has the same settings, with other defaults.",
        ),
        "sweep thrm": (
            *_study("thrm", sweep.FRONT),
            "`trades` and files of your own have the same settings.",
        ),
        "sweep hedge": (*_study("hedge", sweep.OF_MODEL), ""),
        "evaluate": (*_command(evaluate.Evaluate, evaluate.Evaluate(), evaluate.MANUAL), ""),
        "audit": (*_command(audit.Audit, audit.Audit(), audit.MANUAL), ""),
        "gate": (*_command(gate.Gate, gate.Gate(), gate.MANUAL), ""),
        "doctor": (*_command(doctor.Doctor, doctor.Doctor(), doctor.MANUAL), ""),
        "report": (*_command(report.Report, report.Report(), report.MANUAL), ""),
        "view": (*_command(view.View, view.View(name="STUDY"), view.MANUAL), ""),
        "reproduce": (*_command(reproduce.Reproduce, reproduce.Reproduce(), reproduce.MANUAL), ""),
        **{
            f"data {verb}": (*_command(cls, None, data.MANUALS[verb]), "")
            for verb, cls in data.VERBS.items()
        },
    }


def reference() -> str:
    """The whole page."""
    parts, seen = [HEAD.rstrip(), f"```text\n{usage('fftune')}\n```"], set()
    for command, (manual, flags, remark) in _pages().items():
        forms = "\n".join(f"fftune {command} {words}".rstrip() for words in manual.usage)
        about = " ".join(manual.about.split())
        verb = command.split()[0]
        parts += [] if verb in seen else [f"## {verb}"]
        parts += [f"### {command}"] if command != verb else []
        seen.add(verb)
        parts += [f"```text\n{forms}\n```", about, remark, settings(flags)]
    return "\n\n".join(filter(None, parts)) + "\n"


def settings(flags: list[Flag]) -> str:
    """A definition list of each section's flags: the flag, then its meaning and default."""
    parts: list[str] = []
    section = None
    for flag in sorted(flags, key=lambda flag: [one.section for one in flags].index(flag.section)):
        if flag.section != section:
            section = flag.section
            parts.append(f"**{section}**" + (f": {flag.about}" if flag.about else ""))
        known = f" Known: {', '.join(flag.known)}." if flag.known else ""
        default = f" (default: {flag.default})" if flag.default else ""
        parts.append(f"`{invocation(flag)}`\n: {flag.meaning}{known}{default}")
    return "\n\n".join(parts)
