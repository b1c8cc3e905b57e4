"""Four children work on the four quarters of one image, which is in memory that all of them see.

Nothing of it is copied: each child gets a descriptor of the memory, and where its quarter lies.
"""

import os

import numpy

import pyroipc


class Painter:
    """Blurs what it is given, in its place."""

    def blur(self, quarter, times):
        for _ in range(times):
            middle = quarter[1:-1, 1:-1]
            around = (
                quarter[:-2, 1:-1] + quarter[2:, 1:-1] + quarter[1:-1, :-2] + quarter[1:-1, 2:]
            )
            middle[:] = (middle + around / 4) / 2
        return os.getpid()


rows, columns = 480, 640
image = pyroipc.shared_array((rows, columns), "f4")
image[::2] = 255  # stripes
print("before:", "little contrast", image.std() < 10)

children = [pyroipc.spawn(Painter) for _ in range(4)]
quarters = [
    image[: rows // 2, : columns // 2],
    image[: rows // 2, columns // 2 :],
    image[rows // 2 :, : columns // 2],
    image[rows // 2 :, columns // 2 :],
]
futures = [
    child.blur.submit(quarter, 20) for child, quarter in zip(children, quarters, strict=True)
]
processes = {future.result() for future in futures}
print("worked on by", len(processes), "processes; this one among them:", os.getpid() in processes)
print("after:", "little contrast", image[10:230, 10:310].std() < 10)

# A child that is gone takes nothing with it.
for child in children:
    child.close()
print("still here:", image.shape, type(image) is numpy.ndarray)

# Output:
#   before: little contrast False
#   worked on by 4 processes; this one among them: False
#   after: little contrast True
#   still here: (480, 640) True
