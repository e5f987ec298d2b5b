# shellcheck shell=bash
# ./dev bench: Mailflock beside others. Setup, build and services come first, then what only the
# benchmark needs: Node with the peer's packages, and HAProxy. bench/bench.py measures.

BENCH=$STATE/bench

cmd_bench() {
    case " $* " in
    *' -h '* | *' --help '*) exec "$PYTHON" -B "$ROOT/bench/plan.py" --help ;;
    esac
    cmd_setup >&2
    "$PYTHON" -B "$ROOT/bench/plan.py" "$@"
    mkdir -p "$BENCH"
    exec 7>"$BENCH/lock" # kept open until the end
    flock -n 7 || die "another benchmark is running in this checkout"
    bench_step build cmd_build
    ((BENCH_STATUS == 0)) || die "the build failed; all it said is in $BENCH/build.log"
    if ! any_service service_alive; then trap cmd_down EXIT; fi
    end_after_current_command
    cmd_up >&2
    bench_step setup bench_programs
    bench_step peers bench_peers
    unset "${!MAILFLOCK_@}"
    # shellcheck source=/dev/null
    . "$STATE/env"
    "$PYTHON" -B "$ROOT/bench/bench.py" "$@"
}

# bench_step NAME COMMAND: what COMMAND says goes into a log, and is shown where it fails; its status
# is in BENCH_STATUS. A row whose programs are missing is left out.
bench_step() {
    local log=$BENCH/$1.log
    # Not in a condition, where a failure inside COMMAND would not end it.
    set +e
    (
        set -e
        "$2"
    ) >"$log" 2>&1
    BENCH_STATUS=$?
    set -e
    ((BENCH_STATUS == 0)) || tail -n 20 "$log" >&2
}

# bench_programs: Node may have come from elsewhere than Debian; what is there is not installed again.
bench_programs() {
    local name missing=()
    for name in node:nodejs npm:npm haproxy:haproxy; do
        command -v "${name%:*}" >/dev/null || missing+=("${name#*:}")
    done
    ((${#missing[@]})) || return 0
    # shellcheck disable=SC2034 # it is what cmd_setup installs
    local PACKAGES=("${missing[@]}")
    command -v apt-get >/dev/null || die "this is not Debian; not found here: ${missing[*]}"
    cmd_setup
}

# bench_peers: the peer with its packages, as package-lock.json says, in .dev/.
bench_peers() {
    local from=$ROOT/bench/peers to=$BENCH/peers
    mkdir -p "$to"
    cp -- "$from"/*.mjs "$to"
    if cmp -s "$from/package-lock.json" "$to/installed"; then return; fi
    cp -- "$from"/package*.json "$to"
    cd "$to"
    npm ci --no-audit --no-fund --ignore-scripts --no-update-notifier --cache "$BENCH/npm"
    cp -- package-lock.json installed
}
