"""Any text is a URI or refused with a PyroError; what is one comes back as it was."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pyroipc.errors import PyroError
from pyroipc.location import Location
from pyroipc.uri import URI

SIGNS = st.text(st.sampled_from(":@[]%./u0123456789abcdefPYROnamemeta,<>- \n\0é\ud800"))
ANY = st.one_of(st.text(st.characters()), SIGNS)
SCHEMES = st.sampled_from(["PYRO:", "pyro:", "PYRONAME:", "PYROMETA:", "PYRO", ""])

hosts = st.one_of(
    st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.builds("{}%{}".format, st.ip_addresses(v=6), st.from_regex(r"[a-z0-9.]+", fullmatch=True)),
)
paths = st.from_regex(r"\0?[^\s:\0-\x20\x7f]([^:\0-\x1f\x7f]*[^\s:\0-\x20\x7f])?", fullmatch=True)
locations = st.one_of(
    st.builds(Location, hosts, st.integers(1, 65535)),
    st.builds(lambda path: Location(sockname=path), paths),
)
names = st.text(st.characters(exclude_characters="@,"), min_size=1).filter(
    lambda name: name.split() == [name]
)


@given(text=st.builds(str.__add__, SCHEMES, ANY))
@example("PYRO:@<connected-socket>")
@example("PYRO:o@./u:x@<connected-socket>")
@example("PYRO:o@[::1%\u2028]:1")
def test_any_text(text):
    try:
        uri = URI(text)
    except PyroError:
        return
    assert URI(str(uri)) == uri
    assert str(URI(str(uri))) == str(uri)
    assert (uri.location is None) == ("@" not in text)


@given(text=ANY)
def test_any_location(text):
    try:
        location = Location.parse(text)
    except PyroError:
        return
    assert str(location) == text
    assert Location.parse(text) == location


@given(location=locations)
def test_locations(location):
    assert Location.parse(str(location)) == location


@given(name=names, location=locations)
def test_objects(name, location):
    uri = URI(f"PYRO:{name}@{location}")
    if not str(location).endswith("@<connected-socket>"):
        assert (uri.object, uri.location) == (name, str(location))
        assert (uri.host, uri.port, uri.sockname) == (
            location.host, location.port, location.sockname,
        )  # fmt: skip


@given(tags=st.frozensets(names, min_size=1), location=st.none() | locations)
def test_tags(tags, location):
    at = "" if location is None else f"@{location}"
    uri = URI(f"PYROMETA:{','.join(tags)}{at}")
    assert uri.object == tags
    assert URI(str(uri)) == uri
    assert hash(URI(str(uri))) == hash(uri)


@given(object_id=ANY)
def test_any_id_behind_a_connected_socket(object_id):
    uri = URI.for_connected_socket(object_id)
    assert URI(str(uri)).object == uri.object == object_id
