"""`python -m fftune.train`: train one net. The code is in `fftune.cli.train`."""

if __name__ == "__main__":
    import sys

    from fftune.cli.options import run
    from fftune.cli.train import main

    run(main, sys.argv[1:])
