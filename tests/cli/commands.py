"""Commands with their flags: the class that tyro parses into, its defaults and its manual."""

from typing import Any

from fftune import recipes
from fftune.cli import (
    audit,
    data,
    data_inspect,
    data_sign,
    data_touch,
    doctor,
    evaluate,
    gate,
    report,
    reproduce,
    sweep,
    train,
    view,
)
from fftune.cli.help_page import Manual
from fftune.config.study import kind_record


def swept(name: str) -> tuple[Any, Any]:
    """The class and the defaults of the command of a study."""
    study = recipes.study(name, "tiny")
    made = sweep._command_type(kind_record(study.kind), type(study))
    return made, made(config=study)


COMMANDS: dict[str, tuple[Any, Any, Manual]] = {
    "evaluate": (evaluate.Evaluate, evaluate.Evaluate(), evaluate.MANUAL),
    "audit": (audit.Audit, audit.Audit(), audit.MANUAL),
    "doctor": (doctor.Doctor, doctor.Doctor(), doctor.MANUAL),
    "gate": (gate.Gate, gate.Gate(), gate.MANUAL),
    "reproduce": (reproduce.Reproduce, reproduce.Reproduce(), reproduce.MANUAL),
    "report": (report.Report, report.Report(), report.MANUAL),
    "view": (view.View, view.View(name="thrm-tiny"), view.MANUAL),
    "train thrm": (train.Train, train._default("thrm", train.Settings()), train.MANUAL),
    "sweep thrm": (*swept("thrm"), sweep.FRONT),
    "sweep hedge": (*swept("hedge"), sweep.OF_MODEL),
    "data write": (data.Write, None, data.MANUALS["write"]),
    "data verify": (data.Verify, None, data.MANUALS["verify"]),
    "data sign": (data_sign.Sign, None, data.MANUALS["sign"]),
    "data inspect": (
        data_inspect.Inspect,
        data_inspect.Inspect(name="digits", against="digits"),
        data_inspect.MANUAL,
    ),
    "data touch": (data_touch.Touch, data_touch.Touch(name="a", out="b"), data_touch.MANUAL),
    "data list": (data.List, None, data.MANUALS["list"]),
}
