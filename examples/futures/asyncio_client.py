"""Remote calls awaited in an asyncio program; its loop runs on meanwhile."""

import asyncio

import pyroipc


class Worker:
    def square(self, number):
        return number * number

    def divide(self, a, b):
        return a / b


async def main(worker):
    # asyncio.wrap_future makes what submit returns awaitable.
    print(await asyncio.wrap_future(worker.square.submit(7)))

    calls = [asyncio.wrap_future(worker.square.submit(number)) for number in range(100)]
    print(sum(await asyncio.gather(*calls)))

    try:
        await asyncio.wrap_future(worker.divide.submit(1, 0))
    except ZeroDivisionError as error:
        print("it said:", error)


# The child is started before the loop, so that it can be forked.
with pyroipc.spawn(Worker) as worker:
    asyncio.run(main(worker))

# Output:
#   49
#   328350
#   it said: division by zero
