"""A child that hosts an object: start it, watch it, explain its death, stop it.

The life of a child, and which module looks after which part of it::

    spawning    spawn(): chooses how to start, asks for the object, hands out a handle
    fork        ┐
    fresh       │ how a process comes to be: by fork, as a fresh interpreter, by a small server
    forkserver  │ that forks (served is that server), or not at all, as a thread
    thread      ┘
    child       what runs at the other side (bootstrap: before that, in a fresh interpreter)
    lifeline    the child ends when the parent ends
    watching    the parent finds out when, and how, the child ended
    stopping    drain, stop, SIGTERM, SIGKILL; also at the end of the interpreter
    handle      what the user holds
    descriptors which descriptors are ours, so that no other child inherits them

**Birth.** Parent and child have two socket pairs. One carries calls. The other, the *lifeline*,
carries nothing at all: it is there to be closed. Between the making of the pairs and the closing
of the ends that are the child's the parent holds a lock that every fork in the process has to
take, so nobody else inherits the child's ends. What remains in the parent is in a table, and is
closed in every other child that is forked later, whoever forks it. Nothing survives an exec.

**Start.** The first call to the child is ``start`` of its ``Pyro.Daemon``: it makes the object and
answers with the object's members. So an exception of the constructor is an error answer like any
other and arrives as itself; the arguments travel like those of any call, classes of ``__main__``
by value; and there is no second protocol for starting. The greeting before that call is answered
by the machinery alone and has HANDSHAKE_TIMEOUT; the constructor has all the time it wants,
unless ``start_timeout`` says otherwise.

**Death of the child.** The kernel closes its sockets, and the reader in the parent sees the end of
the stream. Then it waits for the process itself (its pidfd), which follows within a fraction of a
millisecond, takes the exit status of exactly this process, and fails every pending call with it.
There is no SIGCHLD handler and no ``waitpid(-1)``: both belong to the program. If the program
reaps our child first, the status is unknown, and everything else works. If some grandchild made
by C code holds the socket open, there is no end of the stream; a reader that sleeps looks at the
pidfd once a second.

**Death of the parent.** The child has asked the kernel to be sent SIGKILL when anything happens on
its lifeline (O_ASYNC with F_SETSIG). What happens is that the parent's end closes: the parent has
ended, in whatever way. It works while the child computes in C with the interpreter lock held,
and while it sleeps. PR_SET_PDEATHSIG would not do: it fires when the *thread* that forked ends,
and it is lost in a child of a helper process. Where there is no F_SETSIG a daemon thread waits for
the end of the lifeline. In an orderly stop the parent keeps its end until the child was reaped.

**Stop.** ``close()`` sends the child's daemon a oneway ``stop``, behind everything that was sent
before. The loop there ends: calls in flight finish and are answered, oneway calls that wait are
run, a goodbye follows. The parent reads all that, so that the child never waits for a reader.
Then come SIGTERM and SIGKILL, each with its share of the time. A handle that is dropped without
being closed just closes its socket, which ends the child as well; the child is reaped when the
next one is started or closed. At the end of the interpreter all children are stopped.

**In the child.** SIGINT is ignored, because Ctrl-C goes to the whole process group and the parent
decides. All Python signal handlers, the wake-up descriptor, exit functions and output that are
the parent's are not the child's. It ends like an interpreter does (non-daemon threads are waited
for, exit functions registered in the child run, output is flushed) but with ``os._exit``: after a
fork the stack below is the parent's and must not be unwound.
"""
