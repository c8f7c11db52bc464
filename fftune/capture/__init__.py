"""Functions that a device records once and then replays, with one launch instead of thousands."""

from fftune.capture.captured import captured, forget, recording, records, use
from fftune.capture.spec import Recorder, Recording, UnrecordableError

__all__ = [
    "Recorder",
    "Recording",
    "UnrecordableError",
    "captured",
    "forget",
    "recording",
    "records",
    "use",
]
