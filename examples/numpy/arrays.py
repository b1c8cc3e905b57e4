"""Arrays of numpy as arguments and results: to a child, and over TCP without pickle.

They leave without being copied, and arrive in memory of their own, which the receiver may write to
unless the sender's array was read-only. Anything else that is in a value comes along.
"""

import threading

import numpy as np

import pyroipc


@pyroipc.expose
class Laboratory:
    def smooth(self, values, width=3):
        return np.convolve(values, np.ones(width) / width, mode="same")

    def statistics(self, tables):
        return {
            name: {"mean": table.mean(), "shape": table.shape} for name, table in tables.items()
        }

    def brighten(self, image):
        image += 10  # it is ours: the caller does not see this
        return image

    def about(self, value):
        return f"{type(value).__name__} {value.dtype} {value.shape}"


def show(lab):
    values = np.arange(1_000_000, dtype=np.float32)
    smoothed = lab.smooth(values)
    print(smoothed.dtype, smoothed.shape, smoothed[:3])

    found = lab.statistics({"a": np.eye(3), "b": np.arange(12).reshape(3, 4)[:, ::2]})
    print(found["b"]["mean"], found["b"]["shape"])

    image = np.zeros((480, 640, 3), np.uint8)
    brighter = lab.brighten(image)
    print(image.max(), "->", brighter.max())
    brighter[0, 0] = 255  # and this one is ours

    image.flags.writeable = False
    try:
        lab.brighten(image)
    except ValueError as error:
        print(error)

    print(lab.about(np.datetime64("2026-01-02")))
    people = np.array([("Ada", 36), ("Alan", 41)], dtype=[("name", "U10"), ("age", "<i2")])
    print(lab.about(people[people["age"] > 40]))


print("A child, with pickle:")
with pyroipc.spawn(Laboratory) as child:
    show(child.proxy)

print("A daemon at an address, with msgpack:")
daemon = pyroipc.Daemon()
uri = daemon.register(Laboratory())
thread = threading.Thread(target=daemon.requestLoop)
thread.start()
with pyroipc.Proxy(uri) as lab:
    lab._pyroSerializer = "msgpack"
    show(lab)
    try:
        lab.about(np.array([print, None]))
    except pyroipc.errors.SerializeError as error:
        print(str(error).partition(":")[0])
daemon.shutdown()
thread.join()

# Output:
#   A child, with pickle:
#   float64 (1000000,) [0.33333333 1.         2.        ]
#   5.0 (3, 2)
#   0 -> 10
#   output array is read-only
#   datetime64 datetime64[D] ()
#   ndarray [('name', '<U10'), ('age', '<i2')] (1,)
#   A daemon at an address, with msgpack:
#   float64 (1000000,) [0.33333333 1.         2.        ]
#   5.0 (3, 2)
#   0 -> 10
#   output array is read-only
#   datetime64 datetime64[D] ()
#   ndarray [('name', '<U10'), ('age', '<i2')] (1,)
#   cannot send an object of type numpy.ndarray (at argument 0) with msgpack
