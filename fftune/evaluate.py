"""`python -m fftune.evaluate`: attack nets. The code is in `fftune.cli.evaluate`."""

if __name__ == "__main__":
    import sys

    from fftune.cli.evaluate import main
    from fftune.cli.options import run

    run(main, sys.argv[1:])
