"""Certified bounds: what no point of a ball can do to a net's prediction.

`linf_dist` bounds l_inf-distance nets exactly, rounding included; `margins` bounds any net that
`graph` knows, by interval arithmetic and CROWN; `smoothing` bounds the vote of a smoothed net.
"""

from fftune.certified.linf_dist import (
    CertifiedCounts,
    bounds_of,
    certify,
    stays_right,
    stays_wrong,
)

__all__ = ["CertifiedCounts", "bounds_of", "certify", "stays_right", "stays_wrong"]
