"""Where nets come from: one file a kind of source, as in `timm:NAME`.

The table of sources is `fftune.registry.MODEL_SOURCES`.
"""
