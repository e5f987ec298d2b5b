# shellcheck shell=bash
# ./dev demo: from a fresh machine to mails that have arrived. Setup, build and services come first,
# one line each, with what they say in .dev/log/; dev.d/demo/main.py does the rest.

# Of config/campaigns, each with the recipients it has where nothing else is asked for.
declare -A DEMO_CAMPAIGNS=(
    [welcome]=10000
    [newsletter]=100000
    [personal-newsletter]=10000
    [unread-chat]=3000
)
DEMO_RECIPIENTS_MAX=10000000
DEMO_CONSUMERS_MAX=32

demo_usage() {
    cat <<'TEXT'
usage: ./dev demo [--campaign NAME] [--recipients N] [--consumers K]

Sees a campaign of config/campaigns go out: sets up, builds, starts the private services, loads
sample data for N recipients, sends with K consumers (2), holds the ledger against the relay's own
count, and shows the first mail as it arrived. Leaves the services up.

  NAME                 N unless given
  welcome              10,000    the default: a short letter with a name in it
  newsletter           100,000   a Markdown file, in a layout
  personal-newsletter  10,000    language and preferences, a JSON column, decide what is in it
  unread-chat          3,000     to whom chat messages wait; addresses from an HTTP service, and a relay
                                 that takes 50 ms to answer
TEXT
}

cmd_demo() {
    local campaign=welcome recipients='' consumers=2
    while (($#)); do
        case $1 in
        -h | --help)
            demo_usage
            return
            ;;
        --campaign=* | --recipients=* | --consumers=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --campaign | --recipients | --consumers) (($# >= 2)) || usage_error "demo: $1 takes a value" ;;
        *) usage_error "demo knows --campaign NAME, --recipients N and --consumers K, not '$1'" ;;
        esac
        case $1 in
        --campaign) campaign=$(demo_campaign "$2") ;;
        --recipients) recipients=$(demo_number "$1" "$2" "$DEMO_RECIPIENTS_MAX") ;;
        --consumers) consumers=$(demo_number "$1" "$2" "$DEMO_CONSUMERS_MAX") ;;
        esac
        shift 2
    done
    recipients=${recipients:-${DEMO_CAMPAIGNS[$campaign]}}
    printf 'Mailflock: campaign %s for %s, sent by %s\n\n' "$campaign" \
        "$(demo_count "$recipients" recipient)" "$(demo_count "$consumers" consumer)"
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
    exec "$PYTHON" -B "$ROOT/dev.d/demo/main.py" "$campaign" "$recipients" "$consumers"
}

# demo_campaign NAME: NAME, when it is one of them.
demo_campaign() {
    local name
    for name in "${!DEMO_CAMPAIGNS[@]}"; do
        if [[ $name == "$1" ]]; then
            printf '%s\n' "$name"
            return
        fi
    done
    usage_error "demo has no campaign '$1', only ${!DEMO_CAMPAIGNS[*]}"
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
    cmake --build "$STATE/build" -j "$(nproc)" --target mailflock-producer mailflock fakesmtp
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
