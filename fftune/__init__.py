"""fftune: how much of a model's score could a false friend have faked?"""

__version__ = "0.1.0"
