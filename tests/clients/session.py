"""What the Python sessions share: where the cluster is, names of this run, and checks that are counted."""

import os
import time

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
RUN = os.environ["MERIDIAN_RUN"]

_checks = 0


def named(table):
    """A table name that no other session and no other run has."""
    return f"{table}-{RUN}"


def same(found, expected, what):
    """One check: the two are equal."""
    global _checks
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"
    _checks += 1


def holds(truth, what):
    """One check: it is so."""
    same(bool(truth), True, what)


def refused(kind, words, call):
    """One check: the call raises `kind`, whose text contains `words`. Returns the error."""
    try:
        found = call()
    except kind as error:
        text = str(error)
        assert words in text, f"expected an error that says {words!r}, found {text!r}"
        global _checks
        _checks += 1
        return error
    raise AssertionError(f"expected an error that says {words!r}, found the answer {found!r}")


def eventually(probe, what, seconds=20):
    """One check: `probe` returns something true before the deadline. Returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            holds(True, what)
            return found
        assert time.monotonic() < deadline, f"{what}: not so within {seconds} s, last {found!r}"
        time.sleep(0.05)


def done(client):
    print(f"ok: {client}: {_checks} checks")
