# shellcheck shell=bash
# ./dev chaos: a whole campaign among crashes, then the server's record against the ledger. It has
# services of its own in .dev/chaos, since it kills them.

cmd_chaos() {
    case ${1-} in
    -h | --help) ;;
    *)
        cmd_setup
        mkdir -p "$STATE"
        say "building"
        cmd_build >"$STATE/chaos-build.log" 2>&1 || die "the build failed; see $STATE/chaos-build.log"
        ;;
    esac
    MF_BUILD=${MF_BUILD-$STATE/build} exec "$PYTHON" "$ROOT/tests/chaos/chaos.py" "$@"
}
