# shellcheck shell=bash
# ./dev demo: from a fresh machine to mails that have arrived. Setup, build and services come first,
# one line each, with what they say in .dev/log/; dev.d/demo/main.py does the rest.

DEMO_RECIPIENTS_MAX=10000000
DEMO_CONSUMERS_MAX=32

cmd_demo() {
    local recipients=10000 consumers=2
    while (($#)); do
        case $1 in
        --recipients=* | --consumers=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --recipients | --consumers) (($# >= 2)) || usage_error "demo: $1 takes a number" ;;
        *) usage_error "demo knows --recipients N and --consumers K, not '$1'" ;;
        esac
        if [[ $1 == --recipients ]]; then
            recipients=$(demo_number "$1" "$2" "$DEMO_RECIPIENTS_MAX")
        else
            consumers=$(demo_number "$1" "$2" "$DEMO_CONSUMERS_MAX")
        fi
        shift 2
    done
    printf 'Mailflock: a campaign for %s, sent by %s\n\n' "$(demo_count "$recipients" recipient)" \
        "$(demo_count "$consumers" consumer)"
    mkdir -p "$LOG"
    demo_ask_for_root
    demo_step setup cmd_setup
    demo_step build demo_build
    demo_step services cmd_up
    exec 7>"$STATE/demo.lock" # kept open by what comes next, until it ends
    flock -n 7 || die "another demo is running in this checkout"
    unset "${!MAILFLOCK_@}"
    # shellcheck source=/dev/null
    . "$STATE/env"
    exec "$PYTHON" -B "$ROOT/dev.d/demo/main.py" "$recipients" "$consumers"
}

# demo_number OPTION TEXT MOST: TEXT without leading zeros, when it is a number from 1 to MOST.
demo_number() {
    if ! [[ $2 =~ ^0*([1-9][0-9]{0,8})$ ]] || ((BASH_REMATCH[1] > $3)); then
        usage_error "demo: $1 takes a number from 1 to $3, not '$2'"
    fi
    printf '%s\n' "${BASH_REMATCH[1]}"
}

# demo_count 1000 thing: 1,000 things
demo_count() {
    local number
    number=$(sed -E ':a; s/([0-9])([0-9]{3})($|,)/\1,\2\3/; ta' <<<"$1")
    printf '%s %s\n' "$number" "$( (($1 == 1)) && echo "$2" || echo "$2s")"
}

# demo_ask_for_root: a password is asked for here, where the question can be seen.
demo_ask_for_root() {
    if command -v dpkg-query >/dev/null && [[ -n $(missing_packages) ]]; then
        as_root true || die "installing packages needs root"
    fi
}

# demo_step NAME COMMAND: one line for COMMAND. demo_NAME_doing and demo_NAME_done, given its log,
# say what is going on and what was done.
demo_step() {
    local name=$1 command=$2 log=$LOG/demo-$1.log began watcher status=0
    began=$(demo_now_ms)
    : >"$log"
    demo_watch "$name" "demo_${name}_doing" "$log" &
    watcher=$!
    # Not in a condition, where a failure inside COMMAND would not end it.
    set +e
    (
        set -e
        "$command"
    ) >>"$log" 2>&1
    status=$?
    set -e
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    if demo_terminal; then printf '\r\033[K'; fi
    if ((status >= 128)); then exit "$status"; fi # a signal
    if ((status)); then
        tail -n 20 "$log" >&2
        die "demo: $name failed; all it said is in $log"
    fi
    demo_line "$name" "$("demo_${name}_done" "$log")" $(($(demo_now_ms) - began))
}

# demo_line NAME TEXT MILLISECONDS: as STEP in dev.d/demo/screen.py has it.
demo_line() { printf '  %-12s%-52s %4d.%d s\n' "$1" "$2" $(($3 / 1000)) $(($3 % 1000 / 100)); }

# demo_watch NAME DOING LOG: says that NAME is going on, on a terminal every second and else every
# 15, until it is killed or the shell is gone.
demo_watch() {
    local began=$SECONDS text
    if demo_terminal; then printf '  %s ...' "$1"; fi
    # sleep outlives this a little, and must not keep a pipe open that others read to its end.
    while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        text="$("$2" "$3") ..."
        if demo_terminal; then
            printf '\r\033[K  %-12s%-52s %4d s' "$1" "$text" $((SECONDS - began))
        elif (((SECONDS - began) % 15 == 0)); then
            printf '  %-12s%s\n' "$1" "$text"
        fi
    done
}

demo_terminal() { [[ -t 1 && ${TERM:-dumb} != dumb ]]; }

demo_now_ms() { echo $((${EPOCHREALTIME/[,.]/} / 1000)); }

demo_setup_doing() {
    if grep -q '^setup: installing' "$1"; then
        echo "installing Debian packages"
    else
        echo "looking for what is missing"
    fi
}

demo_setup_done() {
    if grep -q '^setup: installing' "$1"; then
        echo "the missing Debian packages are installed"
    else
        echo "nothing to install"
    fi
}

# demo_build: the programs without the tests, which a newcomer need not wait for.
demo_build() { with_lock build demo_build_programs; }

demo_build_programs() {
    build_into build mailflock-consumer
    cmake --build "$STATE/build" -j "$(nproc)" --target mailflock-producer mailflock
}

demo_build_doing() {
    local compiled
    compiled=$(demo_compiled "$1")
    if ((compiled)); then
        echo "compiling, $compiled files so far"
    else
        echo "looking for what has changed"
    fi
}

demo_build_done() {
    local compiled
    compiled=$(demo_compiled "$1")
    if ((compiled)); then
        echo "$compiled files compiled"
    else
        echo "up to date"
    fi
}

demo_compiled() { grep -c 'Building C object' "$1" || true; }

demo_services_doing() { echo "starting RabbitMQ, MariaDB and smtp-sink"; }

demo_services_done() {
    if grep -q '^up: started' "$1"; then
        echo "RabbitMQ, MariaDB and smtp-sink started"
    else
        echo "RabbitMQ, MariaDB and smtp-sink are running"
    fi
}
