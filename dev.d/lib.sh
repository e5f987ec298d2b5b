# shellcheck shell=bash
# What the other parts share: messages, locks, waiting, and knowing a process again.
# Sourced by ./dev, which sets ROOT and STATE.

say() { printf '%s\n' "$*"; }
warn() { printf 'dev: %s\n' "$*" >&2; }

die() {
    warn "$@"
    exit 1
}

usage_error() {
    warn "$*; see ./dev help"
    exit 2
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        command -v sudo >/dev/null || die "installing packages needs root: install sudo, or run ./dev setup as root"
        sudo "$@"
    fi
}

# with_lock NAME COMMAND...: one COMMAND at a time per checkout and NAME.
with_lock() {
    local name=$1
    shift
    mkdir -p "$STATE"
    (
        flock 9
        "$@"
    ) 9>"$STATE/$name.lock"
}

# end_after_current_command: a signal ends this shell only when the command it awaits has ended, so
# that its EXIT trap undoes nothing behind the back of a running program.
end_after_current_command() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# wait_until SECONDS COMMAND...: 0 as soon as COMMAND succeeds, 1 at the deadline.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# process_started PID: the kernel's start time of PID, which tells a recycled pid from the original.
# Nothing for a process that is gone or a zombie.
process_started() {
    local stat fields
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # The fields after "(name) ", which may itself hold blanks, begin with the state, the third.
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] && printf '%s\n' "${fields[19]}"
}

# processes_with NAME=VALUE: the pids of the processes that began with this in their environment.
processes_with() {
    grep -lszxF -- "$1" /proc/[0-9]*/environ | cut -d/ -f3
}
