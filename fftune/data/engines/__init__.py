"""Decoders that a loader can use instead of memory."""
