"""Sources of nets, as in `timm:NAME`: one file a kind.

The table of sources is `fftune.registry.MODEL_SOURCES`.
"""
