"""`python -m fftune.sweep`: search a front of risks. The code is in `fftune.cli.sweep`."""

if __name__ == "__main__":
    import sys

    from fftune.cli.options import run
    from fftune.cli.sweep import main

    run(main, sys.argv[1:])
