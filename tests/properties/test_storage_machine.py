"""Storages as a state machine: whatever is done, they hold what a dict would."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pyroipc.naming.storage.base import Entry
from tests.support.etcd import PROGRAM, needs_etcd, stop_shared_node
from tests.support.searching import share
from tests.support.storages import Clock, new_place

SEQUENCES = int(os.environ.get("PYROIPC_STORAGE_SEQUENCES", share(200)))
# Few of them, so that they meet; and some that any text may be.
NAMES = st.one_of(
    st.sampled_from([
        "a",
        "aa",
        "ab",
        "a%",
        "a_b",
        "A",
        "b",
        "ä",
        "a\x00",
        "\ud7ff",
        "\U0010ffff",
    ]),
    st.text(st.characters(codec="utf-8"), max_size=4),
)
URIS = st.sampled_from(["PYRO:one@host:1", "PYRO:two@host:2"])
TAGS = st.frozensets(st.sampled_from(["x", "y", "z", "", "ü"]), max_size=3)
SECONDS = st.integers(-5, 100)


class Model:
    """What a storage is, as a dict with a clock."""

    def __init__(self, clock):
        self._clock = clock
        self.dict = {}

    def living(self):
        now = self._clock()
        return {name: e for name, e in self.dict.items() if e.is_alive(now)}

    def entries(self, prefix, tags_all, tags_any):
        return [
            entry
            for name, entry in sorted(self.living().items())
            if name.startswith(prefix)
            and tags_all <= entry.metadata
            and (not tags_any or tags_any & entry.metadata)
        ]


class Storages(RuleBasedStateMachine):
    kind = ""

    @initialize()
    def begin(self):
        self.clock = Clock()
        self.folder = tempfile.TemporaryDirectory()
        self.place = new_place(self.kind, Path(self.folder.name))
        self.storage = self.place.opened(self.clock)
        self.model = Model(self.clock)

    @rule(name=NAMES, uri=URIS, tags=TAGS, seconds=st.none() | SECONDS, only_new=st.booleans())
    def put(self, name, uri, tags, seconds, only_new):
        expires = None if seconds is None else self.clock.now + seconds
        entry = Entry(name, uri, tags, expires)
        refused = only_new and name in self.model.living()
        assert self.storage.put(entry, only_new=only_new) is not refused
        if not refused:
            self.model.dict[name] = entry

    @rule(name=NAMES)
    def remove(self, name):
        assert self.storage.remove(name) is (name in self.model.living())
        self.model.dict.pop(name, None)

    @rule(wanted=st.dictionaries(NAMES, SECONDS, max_size=4))
    def renew(self, wanted):
        living = self.model.living()
        times = {name: self.clock.now + seconds for name, seconds in wanted.items()}
        assert self.storage.renew(times) == wanted.keys() - living.keys()
        for name in wanted.keys() & living.keys():
            self.model.dict[name] = living[name]._replace(expires=times[name])

    @rule(seconds=st.integers(1, 60))
    def time_passes(self, seconds):
        self.clock.now += seconds

    @rule()
    def remove_expired(self):
        dead = sorted(self.model.dict.keys() - self.model.living().keys())
        assert self.storage.remove_expired(self.clock.now) in (
            [[]] if self.kind == "etcd" else [dead]
        )
        self.model.dict = self.model.living()

    @rule()
    def open_again(self):
        if self.storage.persistent:
            self.storage.close()
            self.storage = self.place.opened(self.clock)

    @rule(name=NAMES)
    def get(self, name):
        assert self.storage.get(name) == self.model.living().get(name)

    @rule(prefix=NAMES | st.just(""), tags_all=TAGS, tags_any=TAGS)
    def entries(self, prefix, tags_all, tags_any):
        found = self.storage.entries(prefix, tags_all=tags_all, tags_any=tags_any)
        assert found == self.model.entries(prefix, tags_all, tags_any)

    @rule()
    def all_of_it(self):
        assert self.storage.entries() == self.model.entries("", frozenset(), frozenset())
        if self.kind != "etcd":  # it counts what expired until its own clock ends the lease
            assert self.storage.count() == len(self.model.living())

    def teardown(self):
        self.all_of_it()
        self.storage.close()
        self.folder.cleanup()


def case(kind, sequences):
    machine = type(f"Storages_{kind}", (Storages,), {"kind": kind})
    made = machine.TestCase
    made.settings = settings(
        max_examples=sequences,
        stateful_step_count=30,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    return made


TestMemory = case("memory", SEQUENCES)
TestSqlite = case("sqlite", SEQUENCES // 4)
TestEtcd = pytest.mark.xdist_group("etcd")(needs_etcd(case("etcd", SEQUENCES // 10)))


@pytest.fixture(scope="module", autouse=True)
def _etcd_ends():
    yield
    if PROGRAM:
        stop_shared_node()
