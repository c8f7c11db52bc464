import sys

from fftune.cli import run
from fftune.data.cli import main

run(main, sys.argv[1:])
