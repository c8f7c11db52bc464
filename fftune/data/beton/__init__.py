"""Betons, FFCV's files of images: their format, reading and writing without FFCV."""
