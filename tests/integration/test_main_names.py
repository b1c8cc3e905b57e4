"""Classes and functions of ``__main__`` between forks of one program, and strangers.

Each test is a script that runs as ``__main__`` in a fresh interpreter, forks, and exchanges
pickled bytes with its children over socketpairs.
"""

from __future__ import annotations

import textwrap

import pytest

from tests.support.snippets import run_script

PRELUDE = '''
import os, socket, sys
from pyroipc.serializers import main_names
from pyroipc.serializers.pickle import PickleSerializer


class End:
    """One end of a connection: the image identities go first, as in a hello."""

    def __init__(self, sock):
        self.file = sock.makefile("rwb")
        self.serializer = PickleSerializer()

    def meet(self):
        self.write(main_names.image_identity().encode())
        self.image = main_names.peer_image(self.read().decode())
        self.serializer = PickleSerializer().for_connection(self.image)
        return self

    def write(self, data):
        self.file.write(len(data).to_bytes(4, "big") + data)
        self.file.flush()

    def read(self):
        size = int.from_bytes(self.file.read(4), "big")
        return self.file.read(size)

    def send(self, value):
        self.write(self.serializer.dumps(value))

    def receive(self):
        return self.serializer.loads(self.read())


def pair():
    ours, theirs = socket.socketpair()
    return End(ours), End(theirs)


children = []


def fork(function, *arguments):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    children.append(pid)


def finish():
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0, "a child failed"
    print("passed")


def echo(end):
    end.meet()
    while (value := end.receive()) is not None:
        end.send(value)


def no_cloudpickle():
    assert "cloudpickle" not in sys.modules
'''

STRANGER = """
import sys
from pyroipc.serializers.pickle import PickleSerializer
serializer = PickleSerializer()
value = serializer.loads(bytes.fromhex(sys.stdin.read()))
assert "Point" not in vars(sys.modules["__main__"])
shown = value.shown() if hasattr(value, "shown") else value(20)
sys.stdout.write(serializer.dumps((value, shown)).hex())
"""

ASK_STRANGER = f"""
import subprocess


def ask_stranger(value, serializer):
    finished = subprocess.run(
        [sys.executable, "-c", {STRANGER!r}],
        input=serializer.dumps(value).hex(), capture_output=True, text=True, check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return serializer.loads(bytes.fromhex(finished.stdout))
"""


@pytest.fixture
def passes(tmp_path):
    def run(code: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(PRELUDE + ASK_STRANGER + textwrap.dedent(code) + "\nfinish()\n")
        finished = run_script(path, cwd=tmp_path)
        assert (finished.returncode, finished.stdout) == (0, "passed\n"), finished.stderr

    return run


def test_what_was_there_before_the_fork_goes_by_name(passes):
    passes("""
        class Point:
            class Inner:
                pass
            def __init__(self, x):
                self.x = x
        class Trouble(Exception):
            pass
        def double(number):
            return number * 2

        def child(end):
            end.meet()
            point, inner, cls, function, error = end.receive()
            assert type(point) is Point and point.x == 1
            assert type(inner) is Point.Inner
            assert cls is Trouble and function is double and type(error) is Trouble
            end.send((point, inner, cls, function, error))
            no_cloudpickle()

        ours, theirs = pair()
        fork(child, theirs)
        ours.meet()
        assert ours.image.shares_main
        ours.send((Point(1), Point.Inner(), Trouble, double, Trouble("x")))
        point, inner, cls, function, error = ours.receive()
        assert type(point) is Point and type(inner) is Point.Inner
        assert cls is Trouble and function is double and type(error) is Trouble
        no_cloudpickle()
    """)


def test_a_class_made_after_the_fork_travels_by_value_and_comes_home_as_itself(passes):
    passes("""
        ours, theirs = pair()
        fork(echo, theirs)
        made = 0
        class Late:
            kinds = ["of the class"]
            def __init__(self, x):
                self.x = x
            def count(self):
                global made
                made += 1
                return made
        kinds, count = Late.kinds, Late.count
        ours.meet()
        for x in range(3):
            ours.send(Late(x))
            back = ours.receive()
            assert type(back) is Late and isinstance(back, Late) and back.x == x
        assert Late.kinds is kinds and Late.count is count, "the original was replaced"
        assert Late(0).count() == 1 and made == 1
        ours.send(None)
    """)


def test_a_class_that_the_child_made_comes_home_to_the_child(passes):
    passes("""
        def child(end):
            global Fresh
            class Fresh:
                def __init__(self, x):
                    self.x = x
                def shown(self):
                    return f"fresh {self.x}"
            Fresh.__qualname__ = "Fresh"
            end.meet()
            end.send(Fresh(7))
            back = end.receive()
            assert type(back) is Fresh and back.x == 7

        ours, theirs = pair()
        fork(child, theirs)
        ours.meet()
        fresh = ours.receive()
        assert fresh.shown() == "fresh 7" and "Fresh" not in globals()
        ours.send(fresh)
    """)


def test_a_class_that_was_defined_anew_since_the_fork_is_not_taken_for_the_old_one(passes):
    passes("""
        class Point:
            version = 1
        def child(end):
            end.meet()
            value = end.receive()
            assert type(value) is not Point and value.version == 2 and Point.version == 1
            end.send(value)
            end.send(Point())

        ours, theirs = pair()
        fork(child, theirs)
        class Point:
            version = 2
        ours.meet()
        ours.send(Point())
        assert type(ours.receive()) is Point
        assert ours.receive().version == 2   # the name means our class here; that is its price
    """)


def test_functions_lambdas_and_closures(passes):
    passes("""
        offset = 100
        def known(x):
            return x + offset
        ours, theirs = pair()
        fork(echo, theirs)
        def late(x):
            return x + offset
        def adder(n):
            return lambda x: x + n
        ours.meet()
        ours.send((known, late, adder(5), lambda x: x * 2, [adder]))
        back = ours.receive()
        assert back[0] is known
        assert [function(1) for function in back[:4]] == [101, 101, 6, 2]
        assert back[4][0](7)(1) == 8
        ours.send(None)
    """)


def test_cloudpickle_and_dill_keep_the_rule(passes):
    passes("""
        from pyroipc.serializers import table
        class Point:
            class Inner:
                pass
        def double(x):
            return x * 2
        def child(ends):
            for end in ends:
                end.meet()
                name = end.read().decode()
                end.serializer = table.get(name).for_connection(end.image)
                point, inner, function, late, late_function = end.receive()
                assert type(point) is Point and type(inner) is Point.Inner, name
                assert function is double and late.shown() == 1 and late_function(2) == 6, name
                end.send((Point(), double, Point))
        pairs = [pair(), pair()]
        fork(child, [theirs for _, theirs in pairs])
        class Late:
            def shown(self):
                return 1
        def triple(x):
            return x * 3
        for name, (ours, _) in zip(("cloudpickle", "dill"), pairs, strict=True):
            ours.meet().write(name.encode())
            ours.serializer = table.get(name).for_connection(ours.image)
            ours.send((Point(), Point.Inner(), double, Late(), triple))
            point, function, cls = ours.receive()
            assert type(point) is Point and function is double and cls is Point
    """)


def test_errors_of_main_can_be_caught_by_their_class(passes):
    passes("""
        from pyroipc.protocol.remote_errors import dump_error, load_error
        class Early(Exception):
            def __init__(self, a, *, b):
                super().__init__(a)
                self.b = b
        def make():
            class Local(Early):
                pass
            return Local
        Local = make()
        def child(end):
            class Late(Early):
                pass
            end.meet()
            for cls in (Early, Local, Late):
                try:
                    raise cls("message", b=[cls])
                except Exception as error:
                    end.write(dump_error(error, end.serializer))
        ours, theirs = pair()
        fork(child, theirs)
        ours.meet()
        for expected, name in ((Early, "Early"), (Local, "Local"), (Early, "Late")):
            try:
                raise load_error(ours.read(), ours.serializer)
            except expected as error:
                assert type(error).__name__ == name
                assert error.args == ("message",) and error.b == [type(error)]
                assert "in child" in str(error.__cause__)
    """)


def test_siblings_share_what_the_older_one_knows(passes):
    passes("""
        class First:
            pass
        def older(end):
            end.meet()
            first, second = end.receive()
            assert type(first) is First
            assert type(second).__name__ == "Second" and "Second" not in globals()
            end.send((first, second))
        def younger(end):
            end.meet()
            end.send((First(), Second()))
            first, second = end.receive()
            assert type(first) is First and type(second) is Second

        one, two = pair()
        fork(older, one)
        class Second:
            pass
        fork(younger, two)
    """)


def test_parent_to_older_and_to_newer_child(passes):
    passes("""
        ours_old, theirs_old = pair()
        fork(echo, theirs_old)
        class Between:
            pass
        def child(end):
            end.meet()
            assert type(end.receive()) is Between
            no_cloudpickle()
        ours_new, theirs_new = pair()
        fork(child, theirs_new)
        ours_new.meet().send(Between())
        no_cloudpickle()
        ours_old.meet().send(Between())
        assert type(ours_old.receive()) is Between
        ours_old.send(None)
        assert ours_old.image.generation == 1 and ours_new.image.generation == 2
    """)


def test_a_grandchild_and_its_uncle_have_only_the_grandparents_names(passes):
    passes("""
        class Old:
            pass
        def grandchild(end):
            end.meet()
            assert end.image.shares_main and end.image.generation == 1, end.image
            end.send((Old(), Mine()))
            old, mine = end.receive()
            assert type(old) is Old and type(mine) is Mine
        def child(end):
            global Mine
            Mine = type("Mine", (), {"__module__": "__main__"})
            fork(grandchild, end)
            assert os.waitpid(children[-1], 0)[1] == 0
        def uncle(end):
            end.meet()
            old, mine = end.receive()
            assert type(old) is Old and type(mine).__name__ == "Mine"
            end.send((old, mine))

        one, two = pair()
        fork(child, one)
        class Theirs:
            pass
        fork(uncle, two)
    """)


def test_in_one_process_everything_goes_by_name_but_what_has_none(passes):
    passes("""
        class Point:
            pass
        def make():
            class Local:
                pass
            return Local
        here = main_names.peer_image(main_names.image_identity())
        assert here.generation == main_names.EVERYTHING
        serializer = PickleSerializer().for_connection(here)
        def through(value):
            return serializer.loads(serializer.dumps(value))
        assert through(Point) is Point and type(through(Point())) is Point
        no_cloudpickle()
        Local = make()
        assert through(Local) is Local
        double = lambda x: x * 2
        assert through(double)(4) == 8
    """)


def test_a_stranger_gets_classes_and_functions_by_value(passes):
    passes("""
        factor = 3
        class Base:
            def shown(self):
                return f"point {self.x * factor}"
        class Point(Base):
            def __init__(self, x):
                super().__init__()
                self.x = x
        def triple(x):
            return x * factor
        serializer = PickleSerializer()
        shown_before = Base.shown
        back, shown = ask_stranger(Point(2), serializer)
        assert type(back) is Point and back.x == 2 and shown == "point 6"
        assert Base.shown is shown_before
        function, result = ask_stranger(triple, serializer)
        assert result == 60 and function(5) == 15
        function, result = ask_stranger(lambda x: x + factor, serializer)
        assert result == 23
        # An identity that is not ours, or none at all, is a stranger's too.
        for identity in (None, "", "0" * 32 + ":", "x", main_names.image_token() + ":1.x", 7):
            assert not main_names.peer_image(identity).shares_main, identity
    """)


def test_classes_made_in_functions_before_the_fork_are_the_same_at_both_ends(passes):
    passes("""
        def make():
            class Local:
                def __init__(self, x):
                    self.x = x
                def me(self):
                    return __class__
            class Trouble(ValueError):
                pass
            class Worse(Trouble):
                pass
            return Local, Trouble, Worse
        def child(end):
            end.meet()
            for _ in range(2):
                local, trouble, worse, other = end.receive()
                assert type(local) is Local and local.x == 1 and local.me() is Local
                assert type(trouble) is Trouble and type(worse) is Worse
                assert type(other) is not Local and type(other).__name__ == "Local"
                end.send((local, Trouble("t"), Worse("w"), other))

        Local, Trouble, Worse = make()
        ours, theirs = pair()
        fork(child, theirs)
        ours.meet()
        Other = make()[0]
        for _ in range(2):
            ours.send((Local(1), Trouble("a"), Worse("b"), Other(2)))
            local, trouble, worse, other = ours.receive()
            assert type(local) is Local and type(trouble) is Trouble and type(worse) is Worse
            assert type(other) is Other
    """)


def test_a_class_that_the_peer_has_freed_since_the_fork_arrives_by_value(passes):
    passes("""
        import gc
        def make():
            class Local:
                x = 5
            return Local
        def child(end):
            global Local
            del Local
            gc.collect()
            end.meet()
            value = end.receive()
            assert value.x == 5 and type(value).__name__ == "Local"
            end.send(value)
        Local = make()
        ours, theirs = pair()
        fork(child, theirs)
        ours.meet().send(Local())
        assert type(ours.receive()) is Local
    """)


def test_a_fork_that_ran_no_hooks_makes_a_stranger(passes):
    passes("""
        import ctypes
        before = main_names.image_token()
        reader, writer = os.pipe()
        pid = ctypes.CDLL(None).fork()
        if pid == 0:
            os.write(writer, main_names.image_token().encode())
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(reader, 100).decode() != before
        assert main_names.image_token() == before
    """)


def test_the_main_module_of_a_multiprocessing_child(passes):
    passes("""
        class Point:
            def __init__(self, x):
                self.x = x
            def shown(self):
                return f"point {self.x}"
        def work():
            assert Point.__module__ == "__mp_main__"
            back, shown = ask_stranger(Point(3), PickleSerializer())
            assert shown == "point 3" and type(back) is Point
            sys.stdout.flush()
            os._exit(17)
        if __name__ != "__main__":
            finish = lambda: None
        else:
            import multiprocessing
            process = multiprocessing.get_context("spawn").Process(target=work)
            process.start()
            process.join()
            assert process.exitcode == 17, process.exitcode
            process.close()
    """)


def test_a_message_to_a_peer_that_lacks_a_class_says_so(passes):
    passes("""
        import pickle
        from pyroipc.errors import SerializeError
        try:
            PickleSerializer().loads(b"c__main__\\nNobody\\n.")
        except SerializeError as error:
            assert "Nobody" in str(error) and "does not exist in this process" in str(error)
        else:
            raise AssertionError
    """)


def test_what_is_noted_is_not_kept_alive(passes):
    passes("""
        import gc, weakref
        class Gone:
            pass
        def make():
            class Local:
                pass
            return Local
        Local = make()
        def child():
            pass
        fork(child)
        dead = weakref.ref(Gone), weakref.ref(Local)
        del Gone, Local
        gc.collect()
        assert dead[0]() is None and dead[1]() is None
        fork(child)
    """)


def test_a_long_line_of_forks_starts_over(passes):
    passes("""
        def descend(generations):
            if generations == 0:
                assert len(main_names.lineage()) < 64
                assert len(main_names.image_identity()) < 4096
                assert not main_names.peer_image(first).shares_main
            else:
                children.clear()
                fork(descend, generations - 1)
                assert os.waitpid(children.pop(), 0)[1] == 0
        first = main_names.image_identity()
        fork(descend, 70)
    """)
