"""The log: two variables, an application that has its own, and files that cannot be written."""

from __future__ import annotations

import logging
import os
import re
import textwrap

import pytest

from pyroipc import logs
from tests.support.snippets import run_python

CONFIGURE = """
import logging, os, sys
import pyroipc
from pyroipc import logs
logs.configure_from_environment()
log = logs.get("server")
"""
LINE = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3},pyroipc\.server,%s\] %s\n"


def run(code: str, **environment: str):
    variables = {f"PYRO_{name}": value for name, value in environment.items()}
    return run_python(CONFIGURE + textwrap.dedent(code), environment=variables)


def line(level: str, message: str) -> str:
    return LINE % (level, re.escape(message))


def test_loggers_are_named_after_the_rooms():
    assert logs.get("server") is logging.getLogger("pyroipc.server")


def test_without_the_variables_logging_is_not_even_imported():
    finished = run_python(
        """
        import sys
        import pyroipc
        from pyroipc import logs
        logs.configure_from_environment()
        print("logging" in sys.modules)
        """
    )
    assert finished == (0, "False\n", "")


def test_without_the_variables_only_warnings_are_seen():
    finished = run("log.info('not this'); log.warning('this')")
    assert finished == (0, "", "this\n")


def test_file_and_level(tmp_path):
    path = tmp_path / "pyro.log"
    finished = run(
        "log.debug('déjà \\ud800'); logging.getLogger('own').info('hers')",
        LOGFILE=str(path),
        LOGLEVEL="debug",
    )
    assert finished == (0, "", "")
    first, second = path.read_text("utf-8").splitlines(keepends=True)
    assert re.fullmatch(line("DEBUG", "déjà \\ud800"), first)
    assert re.fullmatch(line("INFO", "hers").replace(r"pyroipc\.server", "own"), second)


def test_a_file_alone_gets_informations(tmp_path):
    path = tmp_path / "pyro.log"
    finished = run("log.debug('no'); log.info('yes')", LOGFILE=str(path))
    assert finished == (0, "", "")
    assert re.fullmatch(line("INFO", "yes"), path.read_text("utf-8"))


@pytest.mark.parametrize("file", ["", "{stderr}"])
def test_standard_error(file):
    finished = run("log.warning('no'); log.error('yes')", LOGFILE=file, LOGLEVEL="ERROR")
    assert (finished.returncode, finished.stdout) == (0, "")
    assert re.fullmatch(line("ERROR", "yes"), finished.stderr)


def test_level_by_number():
    finished = run("log.log(14, 'no'); log.log(15, 'yes')", LOGLEVEL="15")
    assert re.fullmatch(line("Level 15", "yes"), finished.stderr)


@pytest.mark.parametrize("level", ["LOUD", "-5", "1.5", "٣"])
def test_a_wrong_level_is_reported_and_the_log_is_set_up(tmp_path, level):
    path = tmp_path / "pyro.log"
    finished = run("log.debug('no'); log.info('yes')", LOGFILE=str(path), LOGLEVEL=level)
    assert finished == (
        0,
        "",
        f"PYRO_LOGLEVEL={level} is no level of logging, such as DEBUG, INFO or 10; "
        "INFO is taken\n",
    )
    assert re.fullmatch(line("INFO", "yes"), path.read_text("utf-8"))


def test_a_file_that_cannot_be_written_is_reported_and_standard_error_takes_the_log(tmp_path):
    path = tmp_path / "missing" / "pyro.log"
    finished = run("log.warning('no'); log.error('yes')", LOGFILE=str(path), LOGLEVEL="ERROR")
    assert (finished.returncode, finished.stdout) == (0, "")
    report, rest = finished.stderr.splitlines(keepends=True)
    assert report.startswith(f"PYRO_LOGFILE={path} cannot be written (")
    assert report.endswith("; the log goes to standard error\n")
    assert re.fullmatch(line("ERROR", "yes"), rest)


def test_the_file_stays_where_it_was_named(tmp_path):
    finished = run_python(
        CONFIGURE + "os.chdir('/'); log.info('yes')",
        environment={"PYRO_LOGFILE": "pyro.log"},
        cwd=tmp_path,
    )
    assert finished == (0, "", "")
    assert "yes" in (tmp_path / "pyro.log").read_text("utf-8")


OWN_SETUP = """
import logging, sys
logging.basicConfig(format="own %(message)s", stream=sys.stdout)
"""


def test_an_applications_own_setup_is_respected(tmp_path):
    path = tmp_path / "pyro.log"
    finished = run_python(
        OWN_SETUP
        + CONFIGURE
        + "log.debug('ours'); logging.getLogger('hers').info('no'); print(logging.root.level)",
        environment={"PYRO_LOGFILE": str(path), "PYRO_LOGLEVEL": "DEBUG"},
    )
    assert finished == (0, "own ours\n30\n", "")
    assert not path.exists()


def test_an_applications_own_levels_are_respected_if_no_level_is_named(tmp_path):
    finished = run_python(
        OWN_SETUP
        + "logging.getLogger('pyroipc').setLevel('ERROR')\n"
        + CONFIGURE
        + "log.warning('no'); log.error('yes')",
        environment={"PYRO_LOGFILE": str(tmp_path / "pyro.log")},
    )
    assert finished == (0, "own yes\n", "")


def test_an_application_is_told_of_a_wrong_level_by_its_own_handlers():
    finished = run_python(
        OWN_SETUP + CONFIGURE + "log.info('yes')", environment={"PYRO_LOGLEVEL": "LOUD"}
    )
    assert finished.stderr == ""
    report, rest = finished.stdout.splitlines()
    assert report.startswith("own PYRO_LOGLEVEL=LOUD is no level")
    assert rest == "own yes"


def test_setting_up_twice_changes_nothing():
    finished = run("logs.configure_from_environment(); log.info('yes')", LOGLEVEL="INFO")
    assert re.fullmatch(line("INFO", "yes"), finished.stderr)


def test_nothing_is_open_before_the_first_message(tmp_path):
    """The interpreter of a child closes what is open; the number is then that of a socket."""
    path = tmp_path / "pyro.log"
    finished = run(
        """
        before = set(os.listdir("/dev/fd"))
        log.info("begin")
        print(len(set(os.listdir("/dev/fd")) - before))
        """,
        LOGFILE=str(path),
        LOGLEVEL="INFO",
    )
    assert finished == (0, "1\n", "")
    assert "begin" in path.read_text("utf-8")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_appends_to_the_same_file(tmp_path):
    path = tmp_path / "pyro.log"
    finished = run(
        """
        log.info("parent")
        pid = os.fork()
        if not pid:
            log.info("child")
            os._exit(0)
        os.waitpid(pid, 0)
        log.info("parent again")
        """,
        LOGFILE=str(path),
        LOGLEVEL="INFO",
    )
    assert finished == (0, "", "")
    assert [text.rpartition("] ")[2] for text in path.read_text("utf-8").splitlines()] == [
        "parent",
        "child",
        "parent again",
    ]


HOSTED = """
class Talker:
    def talk(self):
        from pyroipc import logs

        logs.configure_from_environment()
        logs.get("server").info("from the child")
        return os.getpid()

if __name__ == "__main__":
    log.info("from the parent")
    with pyroipc.spawn(Talker, start=sys.argv[1]) as talker:
        assert talker.talk() != os.getpid()
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_child_that_hosts_an_object_logs_into_the_same_file(tmp_path, start):
    path = tmp_path / "pyro.log"
    finished = run_python(
        CONFIGURE + HOSTED,
        start,
        environment={"PYRO_LOGFILE": str(path), "PYRO_LOGLEVEL": "INFO"},
    )
    assert finished == (0, "", "")
    text = path.read_text("utf-8")
    assert text.count("from the parent") == text.count("from the child") == 1
