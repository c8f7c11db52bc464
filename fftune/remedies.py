"""Remedies for damaged files, by kind: the end of the line that says what is wrong with one.

Every kind of file that `fftune.stored_file` reads is here; `""` is for what goes on by itself.
"""

from collections.abc import Mapping

_DATA = "put a whole copy in its place"
_RUN = "put back a copy of it, or train again under another --name"
_STUDY = "put back a copy of it, or begin again under another --name"
_TRIAL = "delete the folder of its trial, and --resume runs that again"
_TASK = "delete its folder, and the same command does that task again"
_SIGNED = "take the data and their signature again from who signed them"
_FETCH = "delete it, and fetch the net again by `hf download`"
_AGAIN = "delete it, and the same command writes it again"

REMEDIES: Mapping[str, str] = {
    "a worker's last words": "delete it: it says only why a worker failed",
    "analysis": _TASK,
    "annotations": _DATA,
    "archive": _DATA,
    "Arrow file": _DATA,
    "audit": "delete it, and audit the net again",
    "bars": "docs/audit.md shows its form",
    "beton": "`fftune data write` makes it again",
    "block": "",
    "checkpoint": _RUN,
    "checksum": _TASK,
    "front": "delete it, and `fftune sweep` with --resume writes it again",
    "database": "put back a copy of it, or move it away, and a new one is begun",
    "history": _RUN,
    "id of a storage": "delete it, and the storage gets another",
    "image": _DATA,
    "index of saved images": "delete it, and `fftune evaluate` with --save-images writes it again",
    "journal": _STUDY,
    "JUnit file": _AGAIN,
    "list of images": _DATA,
    "labels of an archive": _DATA,
    "manifest": "`fftune data write` makes it again, with its data",
    "memory of checksums": "",
    "migration of MLflow": "install mlflow again",
    "net": _RUN,
    "note of a task": _AGAIN,
    "NumPy file": _DATA,
    "outcomes": "delete it, and `fftune evaluate` writes it again; of a trial, delete the trial's "
    "folder, and --resume runs that again",
    "page": _AGAIN,
    "Parquet file": _DATA,
    "perturbed examples": "delete the file, and they are made again",
    "pickle": _DATA,
    "plotly's code": _AGAIN,
    "preprocessor": _FETCH,
    "private key": "name the key that was made for signing",
    "public key": "ask the signer for it again",
    "record of a search": "delete it if the search is in an 'optuna.journal' beside it, else put "
    "back a copy",
    "record of a training": "delete it, and --resume trains that again",
    "record of a trial": _TRIAL,
    "record of attempts": "delete it: only the number of failures is lost",
    "reference": _FETCH,
    "saved image": "`fftune evaluate` with --save-images writes it again",
    "settings": _STUDY,
    "settings of a net": _FETCH,
    "showcase": "delete it, and `fftune sweep hedge` with --resume writes it again",
    "signature": _SIGNED,
    "signed manifest": _SIGNED,
    "state": "",
    "states": "",
    "summary": "",
    "summary of rows": _AGAIN,
    "tar": _DATA,
    "weights": "put a whole copy in its place, or train the net again",
    "zoo": "docs/reproduce.md shows its form",
}
