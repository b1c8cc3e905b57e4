"""A child reports its progress: it calls an object of its parent, over the same connection."""

import socket

import pyroipc


class Worker:
    def work(self, steps, progress):
        for step in range(1, steps + 1):
            progress.report(step, steps)
        return "done"


class Progress:
    @pyroipc.expose
    def report(self, step, steps):
        print(f"step {step} of {steps}")


# No request loop and no port: a daemon only has to know the object. Its own socket is not used.
pair = socket.socketpair()
with pyroipc.Daemon(connected_socket=pair[0]) as daemon:
    progress = Progress()
    daemon.register(progress)
    with pyroipc.spawn(Worker) as worker:
        print(worker.work(3, progress))
for sock in pair:
    sock.close()

# Output:
#   step 1 of 3
#   step 2 of 3
#   step 3 of 3
#   done
