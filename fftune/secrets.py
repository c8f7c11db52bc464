"""Passwords and tokens in text: `redacted` replaces them before text leaves the process.

Messages of errors and lines of the log pass through it by themselves (fftune.errors,
fftune.progress). Other text that may hold an address, an error of a library or a command line is
passed by whoever prints or stores it.
"""

import base64
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"
"""Text in the place of a secret."""
SHORTEST = 8
"""Fewest characters for which a secret of the environment is replaced wherever it stands; a
shorter one may be part of a word, and is replaced where the text around it tells what it is."""

_WORDS = r"passwords?|passwd|passphrase|pwd|secrets?|tokens?|credentials?|signature"
_WORDS += r"|(?:api|access|account|private|shared|secret)[_-]?key"
# Bounded, as a long text without an end of a word would else take minutes.
_NAME = rf"(?:[\w.%-]{{0,60}}[_.-])?(?:ssl|pg)?(?:{_WORDS})"
_SCHEME = r"[A-Za-z][\w+.-]{0,30}://"
_SECRET_VARIABLE = re.compile(rf"(?i){_NAME}(?:[_-]\d+)?")

_VALUE = r"[^\s&;#'\"<>]+"
_QUOTED = rf"(?:'[^']+'|\"[^\"]+\"|{_VALUE})"
_RULES = (
    # scheme://user:password@host; an "@" or "/" inside the password belongs to it.
    (re.compile(rf"({_SCHEME}[^\s/?#:@'\"<>]{{0,200}}:)[^\s'\"<>]{{0,500}}(?=@)"), rf"\1{HIDDEN}"),
    # https://token@host: a name of that length is none.
    (re.compile(rf"({_SCHEME})[^\s/?#:@'\"<>]{{20,500}}(?=@)"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)([?&;](?:key|sig|auth|{_NAME})=){_VALUE}"), rf"\1{HIDDEN}"),
    # --password x, PASSWORD=x, password='x y'
    (re.compile(rf"(?i)(\b{_NAME}\s*=\s*){_QUOTED}"), rf"\1{HIDDEN}"),
    # A signature of data is a file, and no secret; in an address it is one.
    (re.compile(rf"(?i)(--(?!signature\s){_NAME}\s+){_QUOTED}"), rf"\1{HIDDEN}"),
    # {"password": "x"}
    (
        re.compile(rf"(?i)(\\?([\"']){_NAME}\\?\2\s*:\s*)\\?([\"'])(?:(?!\3).)+?\\?\3"),
        rf"\1\3{HIDDEN}\3",
    ),
    (re.compile(r"(?i)(authorization\W{1,4}(?:basic|bearer|token)\s+)[^\s'\"]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abprs]-)\w{16,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"), HIDDEN),  # a JSON web token
    (
        re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)", re.S),
        rf"\1{HIDDEN}",
    ),
)


def redacted(text: str) -> str:
    """The text with each password and token in it replaced by `***`.

    Replaced are what an address, a query, a flag, JSON or a header says to be one, and the secrets
    of this process's environment wherever they stand: values of variables that are named for one
    (`AWS_SECRET_ACCESS_KEY`, `..._TOKEN`, `..._PASSWORD`), and passwords inside the addresses of
    others (`MLFLOW_TRACKING_URI`, `FFTUNE_DB`, `HTTPS_PROXY`), percent-encoded or not.
    """
    known = _known(tuple(os.environ.items()))
    if known is not None:
        text = known.sub(HIDDEN, text)
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


@lru_cache(maxsize=4)
def _known(environment: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """Pattern of the environment's secrets in each of their spellings, the longest first."""
    found = list(_secrets(environment))
    secrets = {way for secret in found for way in (secret, unquote(secret), unquote_plus(secret))}
    long = sorted((s for s in secrets if len(s) >= SHORTEST), key=len, reverse=True)
    return re.compile("|".join("".join(map(_spelled, secret)) for secret in long)) if long else None


def _secrets(environment: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for name, value in environment:
        # A variable of that name may hold the path of a file, which is no secret.
        if _SECRET_VARIABLE.fullmatch(name) and not os.path.exists(value):
            yield value
        yield from _passwords(value)


def _passwords(value: str) -> Iterator[str]:
    """Passwords of an address, in both ways in which its parts are told apart; else none."""
    scheme, separator, rest = value.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
        return
    for part in (re.split(r"[/?#]", rest, maxsplit=1)[0], rest):
        user, at, _ = part.rpartition("@")
        name, _, password = user.partition(":")
        if at:
            yield password
            yield base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    for setting in re.split(r"[?&;]", rest)[1:]:
        name, _, password = setting.partition("=")
        if _SECRET_VARIABLE.fullmatch(name):
            yield password


def _spelled(character: str) -> str:
    """Pattern of a character as it is, or as an address, JSON or Python's own text spells it."""
    plain = re.escape(character)
    encoded = "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogateescape"))
    escaped = {json.dumps(character)[1:-1], repr(character)[1:-1], f"\\{character}"} - {character}
    longest = sorted(escaped, key=len, reverse=True)  # first, or of two backslashes one is left
    ways = [*(f"(?i:{re.escape(way)})" for way in longest), f"(?i:{encoded})", plain]
    return f"(?:{'|'.join([*ways, *(['[+]'] if character == ' ' else [])])})"
