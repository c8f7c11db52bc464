"""The engine of images that nothing else can read: torch's DataLoader."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from fftune.data.buffer_pool import BufferPool, Memory, aligned
from fftune.data.official_split import OfficialSplit
from fftune.data.prefetch import cores
from fftune.errors import DataError


class TorchWorkers:
    """The images of a part, decoded by processes.

    Args:
        memory: where the memory of batches comes from.
    """

    def __init__(
        self, part: OfficialSplit, *, workers: int | None, memory: Memory = aligned
    ) -> None:
        self._images = _Decoded(part)
        self._workers = max(cores() - 1, 0) if workers is None else workers
        self._buffers = None if memory is aligned else BufferPool(memory)

    def batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        loader: Any = torch.utils.data.DataLoader(
            self._images,  # type: ignore[arg-type]  # it asks for a map of positions, no more
            batch_sampler=[rows.tolist() for rows in batches],
            num_workers=self._workers,
            collate_fn=_stacked,
            generator=torch.Generator(),  # else it draws a seed from the global one
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            own = self._buffers
            yield own.take(tuple(batch.shape)).copy_(batch) if own else batch


class _Decoded:
    """The images of a part by position, as a worker's process decodes them."""

    def __init__(self, part: OfficialSplit) -> None:
        self._part = part

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, row: int) -> Tensor | DataError:
        try:
            pixels = self._part.images.read(row).pixels
        except DataError as error:  # as a value: a raised one comes back as a page of text
            return error
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _stacked(images: list[Tensor | DataError]) -> Tensor | DataError:
    pixels = [image for image in images if isinstance(image, Tensor)]
    errors = [image for image in images if isinstance(image, DataError)]
    if errors:
        return errors[0]
    if len({image.shape for image in pixels}) > 1:
        return DataError("images of one batch differ in size; an image_size makes them alike")
    return torch.stack(pixels)
