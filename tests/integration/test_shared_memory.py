"""Arrays and buffers that several processes see: the same memory at both ends, and no leaks."""

from __future__ import annotations

import gc
import os
import signal
import sys
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyroipc
from pyroipc import Proxy, SecurityError, SerializeError
from pyroipc.client import shared as shared_module
from tests.support.hosts import PAIRS, forked, hosted
from tests.support.searching import examples
from tests.support.shared import SERIALIZERS, Holder, descriptors, maps
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/maps")


@pytest.fixture(autouse=True)
def no_map_is_left():
    yield
    shared_module._recent.forget()
    wait_until(lambda: maps() == 0, "all shared memory is unmapped")


@pytest.fixture(params=SERIALIZERS)
def proxy(request):
    if request.param == "dill":
        pytest.importorskip("dill")
    with (
        forked({"it": Holder()}) as (near, _),
        Proxy("it", connected_socket=near) as made,
    ):
        made._pyroSerializer = request.param
        yield made


@pytest.fixture
def far():
    with (
        forked({"it": Holder()}) as (near, child),
        Proxy("it", connected_socket=near) as made,
    ):
        made.__dict__["child"] = child
        yield made


# ------------------------------------------------------------------------------- the same memory


def test_both_ends_see_one_memory(proxy):
    array = pyroipc.shared_array((300, 500), "f4")
    assert type(array) is numpy.ndarray
    assert not array.any()
    assert proxy.fill(array, 1.5) == "ndarray"
    assert (array == 1.5).all()
    proxy.hold(array)
    array[7, 9] = 100
    assert proxy.total(array) == proxy.total(proxy.give()) == 300 * 500 * 1.5 + 98.5
    back = proxy.give()
    assert pyroipc.shared_owner(back) is pyroipc.shared_owner(array)
    back[0, 0] = 5
    assert array[0, 0] == 5


def test_slices_nested_values_and_keywords(proxy):
    array = pyroipc.shared_array(1000, "i8")
    first, second = proxy.echo({"a": [array[10:20], (array[::-7],)], "b": array})["a"]
    first[:] = 1
    second[0][0] = 2
    assert array[10:20].tolist() == [1] * 10
    assert array[999] == 2
    assert proxy.fill(value=3, array=array[5:6]) == "ndarray"
    assert array[5] == 3


def test_tiles_of_one_array_are_one_descriptor(proxy):
    array = pyroipc.shared_array((64, 64), "u1")
    tiles = proxy.echo([array[i] for i in range(64)])
    for tile in tiles:
        tile[:] += 1
    assert (array == 1).all()


def test_an_array_of_the_other_end(proxy):
    array = proxy.make_array((10, 10))
    array[3] = 4
    assert proxy.total(array) == 40
    assert (proxy.give() == array).all()


def test_a_buffer(proxy):
    with pyroipc.shared_buffer(100) as buffer:
        assert len(buffer) == 100
        assert proxy.poke(buffer, 3, 7) == "SharedBuffer"
        assert buffer[3] == 7
        assert memoryview(buffer)[3] == 7
        proxy.hold(buffer)
        assert proxy.give() is buffer
    with pytest.raises(SerializeError, match="closed"):
        proxy.echo(buffer)
    assert proxy.echo(1) == 1


def test_results_of_computing_are_ordinary_arrays(far):
    array = pyroipc.shared_array(10)
    assert far.shared(array)
    assert far.shared(array.reshape(2, 5).T)
    assert not far.shared(array + 1)
    assert not far.shared(numpy.zeros(10))


def test_streams_futures_batches_and_callbacks(far):
    array = pyroipc.shared_array(4, "i8")
    for item in far.items(array, 5):
        item += 1
    assert array.tolist() == [5] * 4
    far.fill.submit(array, 6).result(10)
    assert array.tolist() == [6] * 4
    batch = pyroipc.batch(far)
    batch.fill(array, 7)
    batch.make_array(3)
    kind, made = batch()
    assert kind == "ndarray"
    assert array.tolist() == [7] * 4
    assert made.tolist() == [0, 0, 0]
    with pyroipc.Daemon() as daemon:
        near = Holder()
        daemon.register(near)
        back = far.call_back(near, array)
        back[:] = 8
    assert array.tolist() == [8] * 4


def test_many_threads_do_not_mix_them_up(far):
    from tests.support.hosts import together

    arrays = [pyroipc.shared_array(10, "i8") for _ in range(8)]

    def work(index):
        def run():
            for number in range(40):
                far.fill(arrays[index], 100 * index + number)
                assert (arrays[index] == 100 * index + number).all()
                assert far.echo(number) == number

        return run

    together(*(work(index) for index in range(8)), timeout=40)


def test_together_with_large_ordinary_buffers(proxy):
    array = pyroipc.shared_array(100_000, "i8")
    large = numpy.arange(200_000)
    data = bytes(300_000)
    back, same, other = proxy.echo((large, array, data))
    same[:] = 3
    assert (back == large).all()
    assert other == data
    assert (array == 3).all()


KINDS = ("u1", "<i2", ">i4", "f8", "c16", "M8[ns]", "S5", "U3", "?", [("x", "i4"), ("y", "f8")])
SLICES = st.builds(
    slice, st.integers(-9, 9) | st.none(), st.integers(-9, 9) | st.none(),
    st.sampled_from([1, 2, 3, -1, -2, None]),
)  # fmt: skip


def test_any_slice_of_any_dtype(far):
    @examples(60)
    @given(
        st.sampled_from(KINDS),
        st.lists(st.integers(0, 6), min_size=0, max_size=4),
        st.sampled_from("CF"),
        st.data(),
    )
    def run(kind, shape, order, data):
        array = pyroipc.shared_array(shape, kind, order=order)
        filler = numpy.frombuffer(os.urandom(max(1, array.nbytes)), "u1")[: array.nbytes] & 0x3F
        if array.nbytes:
            flat = array.reshape(-1, order=order).view("u1")
            flat[:] = filler
        if kind == "U3":
            array[...] = "äb"
        cut = array[tuple(data.draw(SLICES) for _ in shape)]
        if cut.ndim == 0:
            cut = array
        far._pyroSerializer = data.draw(st.sampled_from(["pickle", "msgpack"]))
        back = far.echo(cut)
        assert back.dtype == cut.dtype
        assert back.shape == cut.shape
        assert back.tobytes() == cut.tobytes()
        assert pyroipc.shared_owner(back) is pyroipc.shared_owner(cut)
        if cut.size:
            assert numpy.shares_memory(back, cut)

    run()


# ------------------------------------------------------------------------------------- read-only


def test_a_sealed_array_is_read_only_for_others(proxy):
    array = pyroipc.shared_array(10, "i8", readonly=True)
    array[:] = 3
    assert proxy.total(array) == 30
    with pytest.raises(ValueError, match="read-only"):
        proxy.fill(array, 4)
    array[:] = 5  # who has made it may
    assert proxy.total(array) == 50


def test_sealing_later(far):
    array = pyroipc.shared_array(10, "i8")
    owner = pyroipc.shared_owner(array)
    assert not owner.is_sealed
    owner.seal()
    assert owner.is_sealed
    with pytest.raises(ValueError, match="read-only"):
        far.fill(array, 4)
    with pyroipc.shared_buffer(10, readonly=True) as buffer, pytest.raises(TypeError):
        far.poke(buffer, 0, 1)


def test_a_view_that_is_read_only_arrives_so(far):
    array = pyroipc.shared_array(10, "i8")
    view = array[:]
    view.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        far.fill(view, 4)


# ----------------------------------------------------------------------------- where it is copied


@pytest.mark.parametrize("name", ["msgpack", "serpent", "json"])
def test_over_tcp_it_is_copied(name):
    with (
        hosted({"it": Holder()}, pair=PAIRS["tcp"]) as (near, _),
        Proxy("it", connected_socket=near) as far,
    ):
        far._pyroSerializer = name
        array = pyroipc.shared_array((100, 200), "i8")
        array[:] = 2
        back = far.echo(array[::2])
        assert (back == array[::2]).all()
        assert pyroipc.shared_owner(back) is None
        buffer = pyroipc.shared_buffer(100_000)
        buffer[5] = 5
        back = far.echo([buffer])
        assert back == [bytearray(buffer)]


@pytest.mark.parametrize("name", ["pickle", "msgpack"])
def test_where_messages_are_compressed_it_is_copied(name):
    chosen = pyroipc.Settings()
    chosen.COMPRESSION = True
    with (
        hosted({"it": Holder()}, settings=chosen) as (near, _),
        Proxy("it", connected_socket=near, settings=chosen) as far,
    ):
        far._pyroSerializer = name
        array = pyroipc.shared_array(1000, "i8")
        assert not far.shared(array[:500])
        assert (far.echo(array) == array).all()
        assert far.echo(pyroipc.shared_buffer(10)) == bytearray(10)


# -------------------------------------------------------------------------------- life and death


def test_a_child_keeps_it_beyond_the_call(far):
    array = pyroipc.shared_array(1000, "i8")
    array[:] = 9
    far.hold(array)
    gone = weakref.ref(pyroipc.shared_owner(array))
    del array
    wait_until(lambda: gc.collect() is not None and gone() is None, "it is gone here")
    assert maps() == 0
    back = far.give()
    assert back.sum() == 9000


def test_a_killed_holder_leaves_it_to_the_others(far):
    array = pyroipc.shared_array(1000, "i8")
    far.fill(array, 4)
    far.hold(array)
    with pytest.raises(pyroipc.PeerDiedError):
        far.kill()
    far.child.wait()
    assert array.sum() == 4000


def test_the_one_who_made_it_may_be_killed():
    with forked({"it": Holder()}) as (near, child), Proxy("it", connected_socket=near) as far:
        array = far.make_array(1000)
        far.fill(array, 3)
        child.kill()
        child.wait()
        assert array.sum() == 3000
        array[:] = 4
        assert array.sum() == 4000
        del array


def test_nothing_is_left_behind_at_the_other_end(far):
    far.echo(1)
    far.echo(pyroipc.shared_array(10))
    open_before, _ = far.counts()
    for _ in range(50):
        far.total(pyroipc.shared_array(10_000))
        far.echo(pyroipc.shared_array(10_000))
        with pytest.raises(ValueError, match="on purpose"):
            far.fail_with(pyroipc.shared_array(100))
        far.hold_soon(pyroipc.shared_array(10))
        far.drop()
    wait_until(lambda: far.counts()[1] == 0, "the other end has unmapped all")
    assert far.counts()[0] <= open_before


def test_a_forked_child_has_it_too(far):
    array = pyroipc.shared_array(10, "i8")
    pid = os.fork()
    if not pid:
        array[:] = 6
        os._exit(0)
    os.waitpid(pid, 0)
    assert array.tolist() == [6] * 10
    assert far.total(array) == 60


# ----------------------------------------------------------------- what is passed again and again


def pass_often(proxy, array, times=4):
    for _ in range(times):
        proxy.fill(array, 3)
        assert array.sum() == 3 * array.size
        array[:] = 0
    owner, loans = pyroipc.shared_owner(array), proxy._pyroConnection.courier.loans
    wait_until(lambda: proxy.echo(1) and loans.lends(owner), "the other end keeps it")


def test_what_is_lent_needs_no_descriptor(proxy):
    arrays = [pyroipc.shared_array(length, "u1") for length in (10, 1 << 20)]
    for array in arrays:
        pass_often(proxy, array)
    proxy.limit_files(0)
    for array in arrays:
        pass_often(proxy, array[::2])
        pass_often(proxy, array.view("i2"))
        assert proxy.total(array=array) == 0
        array[3] = 5
        assert proxy.total(array) == 5
        assert proxy.shared(array)


def test_what_is_lent_needs_no_descriptor_where_a_context_is_in_use(far):
    array = pyroipc.shared_array(1 << 20, "u1")
    pyroipc.current_context.correlation_id = uuid.uuid4()
    pass_often(far, array)
    far.limit_files(0)
    pass_often(far, array[::2])


def test_what_is_lent_goes_when_its_maker_lets_go(far):
    for _ in range(3):
        arrays = [pyroipc.shared_array(100, "u1") for _ in range(3)]
        for array in arrays:
            pass_often(far, array)
        del array
        arrays.clear()
        wait_until(lambda: far.counts()[1] == 0, "the other end has unmapped all")


def test_a_buffer_that_is_lent_may_be_closed_at_both_ends(far):
    buffer = pyroipc.shared_buffer(100)
    for value in range(5):
        far.poke(buffer, 0, value)
        assert buffer[0] == value
        far.close(buffer)
    buffer.close()
    wait_until(lambda: far.counts()[1] == 0, "the other end has unmapped all")
    with pytest.raises(SerializeError, match="closed"):
        far.poke(buffer, 0, 1)


def test_there_is_no_end_to_what_may_be_passed_again(far, monkeypatch):
    arrays = [pyroipc.shared_array(10_000, "u1") for _ in range(40)]  # more than are lent
    for value in range(1, 5):
        for array in arrays:
            far.fill(array, value)
    assert all(array.min() == 4 for array in arrays)
    assert sum(map(far.total, arrays)) == 40 * 40_000


def test_what_is_lent_is_a_part_of_the_budget_of_the_receiver(monkeypatch):
    monkeypatch.setattr(pyroipc.config, "SHARED_MEMORY_MAX", 100_000)
    with (
        forked({"it": Holder()}) as (near, _),
        Proxy("it", connected_socket=near) as proxy,
    ):
        arrays = [pyroipc.shared_array(20_000, "u1") for _ in range(10)]
        for value in range(1, 5):
            for array in arrays:
                proxy.fill(array, value)
        assert all(array.min() == 4 for array in arrays)
        assert proxy.counts()[1] <= 5


def test_many_threads_pass_one_array(far):
    array = pyroipc.shared_array(8, "u8")

    def fill(index):
        for value in range(1, 100):
            far.fill(array[index : index + 1], value)
            assert array[index] == value

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(8)))
    assert array.tolist() == [99] * 8


def test_a_fork_of_its_maker_changes_nothing(far):
    array = pyroipc.shared_array(10, "i8")
    pass_often(far, array)
    pid = os.fork()
    if not pid:
        del array
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
    pass_often(far, array)


def test_both_ends_lend_and_neither_keeps_the_other_alive(far):
    array = pyroipc.shared_array(10, "i8")
    theirs = far.make_array(10)
    for value in range(5):
        assert far.echo(array).base is not None
        far.give()[:] = value
        assert far.total(theirs) == 10 * value
        assert far.total(array) == 0
    del array, theirs
    far.drop()
    shared_module._recent.forget()
    wait_until(lambda: maps() == 0, "this end has unmapped all")
    wait_until(lambda: far.counts()[1] == 0, "the other end has unmapped all")


def test_a_name_that_means_nothing(far):
    far.echo(1)
    references = far._pyroConnection.references
    description = [bytes(16), 8, "<i8", [1], None, 0, True, True]
    for data in (["lent", "array", description], ["lent", "memory", [bytes(16), 8, True]]):
        with pytest.raises(SerializeError, match="not lent"):
            references.decode(data)
    for data in (["lent", "file", [bytes(16)]], ["lent", "array", []], ["lent", "no", [1]]):
        with pytest.raises((SerializeError, SecurityError)):
            references.decode(data)


# ------------------------------------------------------------------------------------ its limits


def test_the_budget(far, monkeypatch):
    monkeypatch.setattr(pyroipc.config, "SHARED_MEMORY_MAX", 1_000_000)
    small = far.make_array(100_000)
    with pytest.raises(SecurityError, match="SHARED_MEMORY_MAX"):
        far.make_array(100_000)
    del small
    assert far.make_array(100_000).sum() == 0
    assert pyroipc.shared_array(1_000_000).sum() == 0  # one's own count for nothing


def test_at_most_sixteen_in_one_message(far):
    arrays = [pyroipc.shared_array(10) for _ in range(17)]
    assert len(far.echo(arrays[:16])) == 16
    with pytest.raises(SerializeError, match="16 descriptors"):
        far.echo(arrays)
    assert far.echo(1) == 1


def test_arguments_that_are_wrong():
    with pytest.raises(ValueError, match="negative"):
        pyroipc.shared_array((3, -1))
    with pytest.raises(TypeError, match="objects"):
        pyroipc.shared_array(3, object)
    with pytest.raises(ValueError, match="at least 1 byte"):
        pyroipc.shared_buffer(0)
    with pytest.raises(TypeError):
        pyroipc.shared_buffer("3")
    array = pyroipc.shared_array(3)
    with pytest.raises(BufferError):
        pyroipc.shared_owner(array).close()


def test_making_it_may_be_interrupted_anywhere():
    class InterruptError(Exception):
        pass

    def interrupt(*_):
        raise InterruptError

    before_handler = signal.signal(signal.SIGALRM, interrupt)
    pyroipc.shared_buffer(10)
    before = descriptors()
    chance = numpy.random.default_rng(1)
    interrupted = 0
    made = []  # so that none ends where an exception would be ignored
    try:
        for _ in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, float(chance.uniform(1e-6, 2e-4)))
                made += [pyroipc.shared_buffer(100) for _ in range(20)]
                signal.setitimer(signal.ITIMER_REAL, 0)
                for _ in range(10):
                    pass  # what is pending is handled here
            except InterruptError:
                interrupted += 1
            made.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before_handler)
    assert interrupted > 200
    assert descriptors() == before


def test_no_descriptors_left_at_the_other_end(far):
    array = pyroipc.shared_array(10)
    assert far.total(array) == 0
    far.limit_files(3)
    with pytest.raises((SerializeError, OSError)):
        far.hold([pyroipc.shared_array(10) for _ in range(8)])
    assert far.echo("still here") == "still here"
    before = descriptors()
    gc.collect()
    assert descriptors() == before
