"""The home page: which objects there are, and an area to call them in.

One page with its style and its script in it, and nothing from elsewhere; a policy tells the
browser to run this script, which it knows by its hash, and no other. All names and texts from
elsewhere are escaped.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from string import Template
from typing import NamedTuple
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyroipc.gateway.names import ExposedNames

__all__ = ["Shown", "asking_for_key", "home_page"]


class Shown(NamedTuple):
    """An object on the page."""

    name: str
    methods: Sequence[str] = ()
    attributes: Sequence[str] = ()
    problem: str = ""
    """Why the two are not known; empty if they are."""


def home_page(
    objects: Sequence[Shown],
    names: ExposedNames,
    *,
    total: int,
    version: str,
    mount: str = "",
    key: str = "",
) -> tuple[str, str]:
    """Return the page and its policy.

    Args:
        objects: those that are shown.
        names: tells which are exposed.
        total: how many there are.
        version: that of this library.
        mount: the path of the place where the application is mounted.
        key: what the script is to send as the gateway key.
    """
    base = f"{mount}/pyro/"
    page = _HOME.substitute(
        style=_STYLE,
        script=_SCRIPT,
        base=escape(base),
        key=escape(key),
        rows="".join(_row(base, one) for one in objects) or _NO_ROWS,
        note=_note(len(objects), total, names.pattern),
        examples="".join(_examples(base, names)),
        version=escape(version),
    )
    return page, _policy(_SCRIPT, _STYLE, "connect-src 'self'; form-action 'none'")


def asking_for_key(mount: str) -> tuple[str, str]:
    """Return a page that asks for the gateway key, and its policy.

    The key is posted, so that it does not stand in an address.
    """
    page = _ASKING.substitute(style=_STYLE, base=escape(f"{mount}/pyro/"))
    return page, _policy("", _STYLE, "form-action 'self'")


def _policy(script: str, style: str, rest: str) -> str:
    scripts = f"script-src {_hash(script)}; " if script else ""
    return (
        f"default-src 'none'; {scripts}style-src {_hash(style)}; {rest}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    digest = b64encode(sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _note(shown: int, total: int, pattern: str) -> str:
    which = "that the name server knows"
    if pattern:
        which = f"that are exposed by <code>{escape(pattern)}</code>"
    if total > shown:
        return f"The first {shown} of {total} names {which}."
    return f"All names {which}."


def _row(base: str, one: Shown) -> str:
    meta = _get(base, one.name, "$meta", one.name)
    if one.problem:
        return (
            f'<tr><th scope="row">{meta}</th><td colspan="2" class="problem">'
            f"{escape(one.problem)}</td></tr>\n"
        )
    methods = " ".join(
        f'<button type="button" data-object="{escape(one.name)}" data-member="{escape(method)}">'
        f"{escape(method)}</button>"
        for method in one.methods
    )
    attributes = " ".join(_get(base, one.name, name, name) for name in one.attributes)
    return f'<tr><th scope="row">{meta}</th><td>{methods}</td><td>{attributes}</td></tr>\n'


def _get(base: str, name: str, member: str, text: str, query: str = "") -> str:
    """Return a link that gets something."""
    address = (
        f"{base}{quote(name, errors='replace')}/{quote(member, '$', errors='replace')}{query}"
    )
    return f'<a data-get href="{escape(address)}">{escape(text)}</a>'


def _examples(base: str, names: ExposedNames) -> Iterator[str]:
    """Yield links to objects that most have."""
    found = [(name, member, query) for name, member, query in _EXAMPLES if name in names]
    if not found:
        return
    yield "<p>To try it: "
    yield ", ".join(
        _get(base, name, member, f"{name}/{member}{query}", query) for name, member, query in found
    )
    yield "</p>"


_EXAMPLES: Iterable[tuple[str, str, str]] = (
    ("Pyro.NameServer", "$meta", ""),
    ("Pyro.NameServer", "list", ""),
    ("Pyro.NameServer", "list", "?prefix=test."),
    ("Pyro.NameServer", "lookup", "?name=Pyro.NameServer"),
    ("test.echoserver", "error", ""),
    ("test.echoserver", "echo", "?message=hello"),
)
_NO_ROWS = '<tr><td colspan="3">There is none.</td></tr>\n'

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --accent: #2563c9; }
@media (prefers-color-scheme: dark) { :root { --accent: #8ab4f8; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { white-space: nowrap; }
tbody th { font-weight: 600; min-width: 11rem; }
a { color: var(--accent); }
button { font: inherit; cursor: pointer; padding: .05rem .5rem; margin: 0 .1rem .25rem 0;
  border: 1px solid var(--line); border-radius: .3rem; background: none; color: var(--accent); }
button[type=submit] { padding: .3rem 1.2rem; background: var(--accent); color: Canvas; }
input[type=text], input[type=password], textarea { font: .95rem/1.4 ui-monospace, monospace;
  width: 100%; box-sizing: border-box; padding: .35rem .5rem; }
form { display: grid; gap: .8rem; grid-template-columns: 1fr 1fr; }
form > .wide { grid-column: 1 / -1; }
pre { font: .9rem/1.45 ui-monospace, monospace; margin: .3rem 0; padding: .8rem;
  border: 1px solid var(--line); border-radius: .3rem; white-space: pre-wrap;
  overflow-wrap: anywhere; max-height: 30rem; overflow-y: auto; }
pre:empty { display: none; }
.note, footer, .problem { color: GrayText; }
footer { margin-top: 3rem; font-size: .9rem; }
@media (max-width: 40rem) { form { grid-template-columns: 1fr; } }
"""

_SCRIPT = r"""
"use strict";
const { base, key } = document.body.dataset;
const form = document.getElementById("call");
const shown = {};
for (const id of ["request", "status", "response"]) shown[id] = document.getElementById(id);
let number = 0;

if (location.search.includes("$key") || location.search.includes("%24key"))
  history.replaceState(null, "", location.pathname);  // a key does not belong into a history

const bytes = text => String.fromCharCode(...new TextEncoder().encode(text));
const pretty = text => {
  if (/[0-9]{16}/.test(text)) return text;  // numbers that JavaScript cannot hold
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
};

async function ask(method, address, body, options) {
  const mine = ++number;
  const headers = {};
  if (key) headers["X-Pyro-Gateway-Key"] = bytes(key);
  if (options) headers["X-Pyro-Options"] = options;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  shown.request.textContent = method + " " + decodeURI(address) + (body ? "\n" + body : "");
  shown.status.textContent = "...";
  shown.response.textContent = "";
  const begin = performance.now();
  let status, text = "";
  try {
    const answer = await fetch(address, { method, headers, body });
    text = await answer.text();
    status = answer.status + " " + answer.statusText;
    const id = answer.headers.get("X-Pyro-Correlation-Id");
    if (id) status += ", correlation id " + id;
  } catch (error) {
    status = "no answer: " + error.message;
  }
  if (mine !== number) return;  // something else was called meanwhile
  shown.status.textContent = status + ", " + Math.round(performance.now() - begin) + " ms";
  shown.response.textContent = text ? pretty(text) : "(nothing)";
}

document.addEventListener("click", event => {
  const link = event.target.closest("a[data-get]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    ask("GET", link.getAttribute("href"));
  }
  const button = event.target.closest("button[data-member]");
  if (button) {
    form.elements.object.value = button.dataset.object;
    form.elements.member.value = button.dataset.member;
    form.elements.arguments.focus();
  }
});

form.addEventListener("submit", event => {
  event.preventDefault();
  const { object, member, oneway } = form.elements;
  const name = object.value.split("/").map(encodeURIComponent).join("/");
  const address = base + name + "/" + encodeURIComponent(member.value);
  const body = form.elements.arguments.value.trim();
  ask("POST", address, body || "{}", oneway.checked ? "oneway" : "");
});
"""

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Pyro HTTP gateway</title>
<style>$style</style>
</head>
"""

_HOME = Template(
    _HEAD
    + """<body data-base="$base" data-key="$key">
<header>
<h1>Pyro HTTP gateway</h1>
<p>Objects by their names, over HTTP and JSON: <code>${base}name/method?argument=text</code>,
or a POST with a JSON object of arguments.</p>
</header>
<main>
<h2>Objects</h2>
<table>
<thead>
<tr><th scope="col">Name</th><th scope="col">Methods</th><th scope="col">Attributes</th></tr>
</thead>
<tbody>
$rows</tbody>
</table>
<p class="note">$note</p>
$examples
<h2>Call</h2>
<form id="call" autocomplete="off">
<label>Object<input type="text" name="object" required></label>
<label>Method<input type="text" name="member" required></label>
<label class="wide">Arguments, as a JSON object
<textarea name="arguments" rows="3" placeholder='{"name": "value"}'></textarea></label>
<div class="wide"><button type="submit">Call</button>
<label><input type="checkbox" name="oneway"> do not wait for the result</label></div>
</form>
<h2>Last call and response</h2>
<div aria-live="polite">
<pre id="request">Nothing was called yet.</pre>
<p id="status"></p>
<pre id="response"></pre>
</div>
<noscript><p class="problem">Without JavaScript only the links work.</p></noscript>
</main>
<footer>pyroipc $version</footer>
<script>$script</script>
</body>
</html>
"""
)

_ASKING = Template(
    _HEAD
    + """<body>
<h1>Pyro HTTP gateway</h1>
<p>403 Forbidden - incorrect gateway api key</p>
<form method="post" action="$base">
<label class="wide">Gateway key
<input type="password" name="$$key" autocomplete="off" required autofocus></label>
<div class="wide"><button type="submit">Enter</button></div>
</form>
</body>
</html>
"""
)
