# shellcheck shell=bash
# ./dev demo

cmd_demo() {
    die "demo: not there yet"
}
