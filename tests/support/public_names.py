"""The public names of a package, as plain data: of the released one, and of what stands in for it.

This file is run as a program, once with the real package and once under ``install_as``; both print
what they find, and ``differences`` compares the two.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import types


def described(package, modules, *, shim):
    """Return what is public in the modules of a package, found in a process of its own.

    Args:
        package: ``"Pyro4"`` or ``"Pyro5"``.
        modules: names below it; the empty one is the package itself.
        shim: whether it is ours that is looked at.
    """
    from tests.support.snippets import run_module, run_script

    arguments = [__file__, package, *modules]
    if shim:
        found = run_module("pyroipc.compat", package, *arguments, options=())
    else:
        found = run_script(*arguments, options=("-W", "ignore"))
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def differences(real, shim):
    """Return what an old program could trip over: paths of names, and what is wrong with them."""
    found = {}
    for module, names in real.items():
        if shim[module] is None:
            found[module or "."] = "there is no such module"
            continue
        for name, what in names.items():
            path = f"{module}.{name}".lstrip(".")
            _compare(path, what, shim[module].get(name), found)
    return found


def _compare(path, real, shim, found):
    if shim is None:
        found[path] = "it does not exist"
        return
    if "parameters" in real:
        problem = _about_parameters(real["parameters"], shim.get("parameters"))
        if problem:
            found[path] = problem
    if "value" in real and real["value"] != shim.get("value"):
        found[path] = f"it is {shim.get('value')} and not {real['value']}"
    for name, member in real.get("members", {}).items():
        _compare(f"{path}.{name}", member, shim.get("members", {}).get(name), found)


def _about_parameters(real, shim):
    """Say what is wrong with the parameters of a function; None: nothing is."""
    if shim is None:
        return "it cannot be called"
    for place, (name, kind, default) in enumerate(real):
        if place >= len(shim):
            return f"the parameter {name} is missing"
        if kind in {"*", "**"}:
            if kind not in [other[1] for other in shim]:
                return f"the parameter {kind}{name} is missing"
            continue
        if shim[place][0] != name:
            return f"parameter {place} is {shim[place][0]} and not {name}"
        if default is not None and shim[place][2] != default:
            return f"{name} is {shim[place][2]} by default and not {default}"
    for name, kind, default in shim[len(real) :]:
        if default is None and kind not in {"*", "**"}:
            return f"there is one more parameter, {name}, and no default for it"
    return None


# --------------------------------------------------------------- inside of the other process


ORIGINS = {"Pyro4", "Pyro5", "pyroipc"}
MARKS = {"_pyroExposed", "_pyroOneway", "_pyroCallback", "_pyroInstancing"}


def _module(package, name):
    try:
        module = importlib.import_module(f"{package}.{name}".rstrip("."))
    except ModuleNotFoundError:
        return None
    names = {*getattr(module, "__all__", ()), *dir(module)}
    return {
        name: _thing(getattr(module, name)) for name in sorted(names) if _is_ours(module, name)
    }


def _is_ours(module, name):
    """Say whether a public name is the package's own, and not something that it has imported."""
    if name.startswith("_") and name != "__version__":
        return False
    value = getattr(module, name)
    if isinstance(value, types.ModuleType):
        return False
    is_named = isinstance(value, type) or callable(value)
    origin = str(getattr(value if is_named else type(value), "__module__", "") or "")
    return origin.partition(".")[0] in ORIGINS or (not is_named and origin == "builtins")


def _thing(value):
    if isinstance(value, type):
        return {"parameters": _parameters(value), "members": _members(value)}
    if callable(value):
        return {"parameters": _parameters(value)}
    if isinstance(value, bool | int | str | float):
        return {"value": repr(value)}
    if type(value).__module__ == "builtins":
        return {}
    attributes = {name: {} for name in getattr(value, "__dict__", ()) if not name.startswith("_")}
    return {"members": {**_members(type(value)), **attributes}}


def _members(cls):
    # What instances have: some declare it, and a configuration lists its items.
    members = {name: {} for name in getattr(cls, "ITEMS", ())}
    for base in cls.__mro__:
        members.update((name, {}) for name in vars(base).get("__annotations__", ()))
    for name in dir(cls):
        if name in MARKS or (name.startswith("_") and not name.startswith("_pyro")):
            continue
        if hasattr(BaseException, name) and issubclass(cls, BaseException):
            continue
        definition = inspect.getattr_static(cls, name)
        if _is_of_python(cls, name):
            continue
        if isinstance(definition, staticmethod | classmethod):
            definition = definition.__func__
        is_method = inspect.isfunction(definition)
        members[name] = {"parameters": _parameters(definition)} if is_method else {}
    return members


def _is_of_python(cls, name):
    """Say whether a member is inherited from a class of Python's own, such as Thread."""
    owner = next(base for base in cls.__mro__ if name in vars(base))
    return owner.__module__.partition(".")[0] not in ORIGINS


def _parameters(function):
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    kinds = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
        inspect.Parameter.KEYWORD_ONLY: "keyword",
    }
    return [
        (parameter.name, kinds.get(parameter.kind, ""), _default(parameter.default))
        for parameter in signature.parameters.values()
    ]


def _default(value):
    if value is inspect.Parameter.empty:
        return None
    if isinstance(value, type):
        return value.__name__
    if callable(value):
        return f"a function that returns {value()!r}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))  # an enumeration is its number
    return repr(value)


if __name__ == "__main__":
    package, *names = sys.argv[1:]
    print(json.dumps({name: _module(package, name) for name in names}))
