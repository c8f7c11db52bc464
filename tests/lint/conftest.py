"""The small net and the images of the tests of evaluation."""

from tests.evaluation.conftest import blobs, toy

__all__ = ["blobs", "toy"]
