"""Functions that a device records once and then replays, with one launch instead of thousands."""

from fftune.capture.captured import captured, first_use, forget, records, use
from fftune.capture.recorded import recording, unseen
from fftune.capture.spec import Recorder, Recording, UnrecordableError

__all__ = [
    "Recorder",
    "Recording",
    "UnrecordableError",
    "captured",
    "first_use",
    "forget",
    "recording",
    "records",
    "unseen",
    "use",
]
