"""A client that has nothing of pyroipc: Python's own HTTP and JSON. ``python client.py [URL]``."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

gateway = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080/pyro/"


def get(member, **arguments):
    """Call with a query: all arguments are texts."""
    query = urllib.parse.urlencode(arguments, doseq=True)
    with urllib.request.urlopen(f"{gateway}http.fortunes/{member}?{query}") as answer:
        return json.load(answer)


def post(member, **arguments):
    """Call with a JSON object."""
    request = urllib.request.Request(
        f"{gateway}http.fortunes/{member}",
        json.dumps(arguments).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


print(get("tell", name="Ada"))
print(get("tell", name="Grace", lucky_numbers=[7, 3]))
print(post("tell", name="Edsger", lucky_numbers=[1, 5]))
print("told so far:", get("told"))
print("what there is:", get("$meta"))

# What a method raises is JSON as well.
try:
    post("tell", name="")
except urllib.error.HTTPError as error:
    told = json.load(error)
    print(error.code, told["__class__"], *told["args"])

# An iterator is an array, or, for those who want the items as they come, a line for each.
print(get("count_down", start=3))
request = urllib.request.Request(
    f"{gateway}http.fortunes/count_down?start=3", headers={"Accept": "application/x-ndjson"}
)
with urllib.request.urlopen(request) as lines:
    for line in lines:
        print("item", json.loads(line))
