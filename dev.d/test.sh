# shellcheck shell=bash
# ./dev test: everything that must hold, in the order in which it fails fastest.

cmd_test() { die "test: not there yet"; }
