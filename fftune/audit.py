"""`python -m fftune.audit`: judge a net by bars. The code is in `fftune.cli.audit`."""

if __name__ == "__main__":
    import sys

    from fftune.cli.audit import main
    from fftune.cli.options import run

    run(main, sys.argv[1:])
