import sys

from fftune.cli.data import main
from fftune.cli.options import run

run(main, sys.argv[1:])
