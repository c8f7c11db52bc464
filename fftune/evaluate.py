import sys

from fftune.cli import run
from fftune.evaluate.cli import main

run(main, sys.argv[1:])
