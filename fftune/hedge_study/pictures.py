"""Single images in a report: PNG files, and structural similarity."""

import base64
import io

from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor


def similarity(a: Tensor, b: Tensor) -> list[float]:
    """Compute the SSIM of each pair of images, by scikit-image with its default 7 x 7 window.

    Args:
        a, b: (N, C, H, W) in [0, 1].
    """
    return [
        float(structural_similarity(p, q, channel_axis=0, data_range=1.0))
        for p, q in zip(a.numpy(), b.numpy(), strict=True)
    ]


def png(x: Tensor) -> str:
    """Encode an image as PNG in base64.

    Args:
        x: (C, H, W) in [0, 1], C of 1 or 3.
    """
    pixels = (x.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
