"""Who shares what with whom, worked out from two lineages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.serializers import main_names
from pyroipc.serializers.main_names import EVERYTHING, common_generation

A, B, C = (3, 1001), (5, 1002), (4, 1003)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ((), (), EVERYTHING),
        ((), (A,), 3),  # parent and older child
        ((), (B,), 5),  # parent and newer child
        ((A,), (B,), 3),  # siblings
        ((A,), (A, C), 4),  # child and grandchild
        ((), (A, C), 3),  # grandparent and grandchild
        ((A, C), (B,), 3),  # nephew and uncle
        ((A, C), (A, (6, 1004)), 4),  # two grandchildren of one child
        ((A, C), (A, C), EVERYTHING),
        ((A,), ((3, 2000),), 3),  # two threads forked at the same moment
        ((A,), ((3, 2000), C), 3),
    ],
)
def test_common_generation(one, other, common):
    assert common_generation(one, other) == common
    assert common_generation(other, one) == common


class Family:
    """A model: processes that fork and note names; which names two of them really share."""

    def __init__(self):
        self.processes = [((), 0, {})]  # lineage, generation, {name: generation noted}

    def fork(self, index, pid):
        lineage, generation, noted = self.processes[index]
        generation += 1
        noted = dict(noted)
        noted.setdefault(f"made by {lineage} before {generation}", generation)
        self.processes[index] = (lineage, generation, noted)
        self.processes.append(((*lineage, (generation, pid)), generation, dict(noted)))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=15))
def test_what_is_said_to_be_common_is_what_both_have(forks):
    family = Family()
    for pid, choice in enumerate(forks):
        family.fork(choice % len(family.processes), pid)
    for lineage, _, noted in family.processes:
        for other_lineage, _, other_noted in family.processes:
            common = common_generation(lineage, other_lineage)
            said = {name for name, generation in noted.items() if generation <= common}
            assert said == noted.keys() & other_noted.keys()


def test_the_identity_names_token_and_lineage():
    token, _, forks = main_names.image_identity().partition(":")
    assert token == main_names.image_token()
    assert len(token) == 32
    assert forks == "/".join(f"{a}.{b}" for a, b in main_names.lineage())
    assert main_names.peer_image(main_names.image_identity()).generation == EVERYTHING


@given(st.one_of(st.none(), st.text(), st.text().map(lambda t: main_names.image_token() + t)))
def test_any_text_is_taken_for_somebodys_identity_or_a_strangers(text):
    image = main_names.peer_image(text)
    assert image.shares_main or image.generation == 0


def test_the_generation_of_a_long_identity_is_not_worked_out():
    identity = main_names.image_token() + ":" + "/".join(["1.1"] * 2000)
    assert not main_names.peer_image(identity).shares_main
