"""Importing a shim gives the settings of the process Pyro's defaults; other tests want ours."""

from __future__ import annotations

import importlib

import pyroipc

importlib.import_module("pyroipc.compat.pyro4.configuration")
importlib.import_module("pyroipc.compat.pyro5")
pyroipc.config.reset()
