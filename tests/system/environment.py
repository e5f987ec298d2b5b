"""Where the services and the binaries are: ./dev up wrote it down."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _load_environment():
    """What ./dev up wrote, unless the caller (ctest, ./dev test) has sourced it already."""
    if "MAILFLOCK_BROKER_HOST" in os.environ:
        return
    path = os.path.join(ROOT, ".dev", "env")
    if not os.path.exists(path):
        sys.exit(f"{path} is missing: run ./dev up first")
    keep = os.environ.get("MF_BUILD")
    text = subprocess.run(["bash", "-c", '. "$1" && env -0', "bash", path], check=True,
                          stdout=subprocess.PIPE).stdout.decode()
    os.environ.update(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)
    if keep:
        os.environ["MF_BUILD"] = keep


_load_environment()
ENV = dict(os.environ)


def binary(name):
    """The path of one of our programs. MF_CONSUMER in the environment is a consumer of another build,
    such as one that a sanitizer watches."""
    build = ENV["MF_BUILD"]
    if name == "mailflock-consumer" and ENV.get("MF_CONSUMER"):
        return ENV["MF_CONSUMER"]
    for place in ("", "producer", "consumer", "console", "tests"):
        path = os.path.join(build, place, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(f"{name} is not in {build}: run ./dev build")


def binary_with_faults(name):
    """The same program with fault points."""
    build = ENV.get("MF_BUILD_FAULTS") or ENV["MF_BUILD"] + "-faults"
    path = os.path.join(build, name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is missing: it is the program with fault points, which this test "
                             "needs; run ./dev build --faults, or set MF_BUILD_FAULTS")
    return path


def have_binary(name):
    try:
        return bool(binary(name))
    except FileNotFoundError:
        return False
