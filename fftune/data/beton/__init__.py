"""FFCV files of images ("beton"): their format, and reading and writing them without FFCV."""
