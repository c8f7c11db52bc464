import sys

from fftune.cli.options import run
from fftune.cli.report import main

run(main, sys.argv[1:])
