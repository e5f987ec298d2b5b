# shellcheck shell=bash
# ./dev up, down, service: the life of the private services, whatever they are. Each is a session of
# its own, detached from the terminal and known by pid and start time. Ports are chosen once per
# checkout and kept in .dev/ports. What a service is, servers.sh says: start_NAME and ready_NAME.

SERVICES=(rabbitmq mariadb sink)
RUN=$STATE/run
LOG=$STATE/log
SERVICE_TAG=MAILFLOCK_DEV_SERVICE

cmd_up() { with_lock services services_up; }

cmd_down() {
    if any_service service_left; then
        with_lock services services_down
    else
        say "down: nothing was running"
    fi
}

cmd_clean() {
    local other
    cmd_down
    for other in "$STATE"/*/ports; do
        if [[ -s $other ]]; then MF_STATE=${other%/ports} "$ROOT/dev" clean; fi
    done
    if [[ -s $STATE/socket-dir ]]; then
        rm -rf -- "$(<"$STATE/socket-dir")"
    fi
    rm -rf -- "$STATE"
    say "clean: $STATE is gone"
}

cmd_service() {
    local action=${1-} name=${2-}
    case $action in
    start | stop | restart | status) ;;
    *) usage_error "service takes stop, start, restart or status, then a service" ;;
    esac
    (($# <= 2)) || usage_error "service takes one service at a time"
    if [[ -n $name && " ${SERVICES[*]} " != *" $name "* ]]; then
        usage_error "there is no service '$name', only ${SERVICES[*]}"
    fi
    [[ -n $name || $action == status ]] || usage_error "service $action takes one of ${SERVICES[*]}"
    if [[ $action == status ]]; then
        service_status ${name:+"$name"}
    else
        with_lock services service_act "$action" "$name"
    fi
}

cmd_sql() {
    load_ports
    exec mariadb --no-defaults --protocol=tcp -h 127.0.0.1 -P "$PORT_MARIADB" -u mailflock -pmailflock \
        --default-character-set=utf8mb4 --database=mailflock "$@"
}

cmd_rabbitmqctl() {
    load_ports
    service_alive rabbitmq || die "rabbitmq is not running here: run ./dev up"
    rabbitmq_environment
    exec "$RABBITMQ_BIN/rabbitmqctl" "$@"
}

# ---- all of them

services_up() {
    local name begun=()
    for name in mariadbd mariadb-install-db smtp-sink epmd "$RABBITMQ_BIN/rabbitmq-server" ss flock; do
        command -v "$name" >/dev/null || die "$name is missing: run ./dev setup first"
    done
    mkdir -p "$RUN" "$LOG"
    choose_ports
    load_ports
    write_env
    for name in "${SERVICES[@]}"; do
        service_alive "$name" || begun+=("$name")
    done
    for name in "${SERVICES[@]}"; do service_begin "$name"; done
    for name in "${SERVICES[@]}"; do service_await "$name"; done
    if ((${#begun[@]})); then
        say "up: started ${begun[*]}"
    else
        say "up: everything is running already"
    fi
    cat <<TEXT
  RabbitMQ   amqp://mailflock:mailflock@127.0.0.1:$PORT_AMQP/mailflock
             management UI http://127.0.0.1:$PORT_MGMT/ (user mailflock, password mailflock)
  MariaDB    127.0.0.1:$PORT_MARIADB, database mailflock (user mailflock, password mailflock)
  SMTP sink  smtp://127.0.0.1:$PORT_SINK
  settings   . .dev/env      logs .dev/log/
TEXT
}

services_down() {
    local name stopped=() jobs=() result=0
    for name in "${SERVICES[@]}"; do
        if service_left "$name"; then stopped+=("$name"); fi
        service_end "$name" &
        jobs+=($!)
    done
    for name in "${jobs[@]}"; do wait "$name" || result=1; done
    # The next `up` begins with an empty broker: RabbitMQ 3.10 may not get over a log that tells of many
    # queues deleted since, and then no queue can be declared (INTERNAL_ERROR). `service stop` keeps all.
    ((result)) || rm -rf -- "$STATE/rabbitmq/data"
    say "down: stopped ${stopped[*]-}"
    return "$result"
}

# any_service TEST: 0 when TEST NAME holds for one of the services.
any_service() {
    local name
    for name in "${SERVICES[@]}"; do
        if "$1" "$name"; then return 0; fi
    done
    return 1
}

# ---- one of them

service_act() {
    local action=$1 name=$2
    [[ -f $STATE/ports ]] || die "nothing was ever started here: run ./dev up first"
    load_ports
    if [[ $action != start ]]; then
        service_end "$name"
    fi
    if [[ $action != stop ]]; then
        service_begin "$name"
        service_await "$name"
    fi
    service_status "$name" || [[ $action == stop ]]
}

# service_status [NAME]: prints one line per service; 1 if one is not running.
service_status() {
    local name names=("${@:-${SERVICES[@]}}") result=0
    for name in "${names[@]}"; do
        if service_alive "$name"; then
            say "$name running pid=$(service_pid "$name")"
        else
            say "$name stopped"
            result=1
        fi
    done
    return "$result"
}

service_begin() { service_alive "$1" || "start_$1"; }

service_await() {
    local name=$1
    wait_until 180 service_settled "$name" && service_alive "$name" && return
    tail -n 20 "$LOG/$name.log" >&2 || true
    if service_alive "$name"; then
        die "$name did not become ready within 180 s; see $LOG/$name.log"
    fi
    die "$name ended while starting; see $LOG/$name.log"
}

# service_settled NAME: it answers, or it has died and there is no use in waiting.
service_settled() { ! service_alive "$1" || "ready_$1" >/dev/null 2>&1; }

service_pid() {
    local pid rest
    read -r pid rest <"$RUN/$1.pid" && printf '%s\n' "$pid"
}

service_alive() {
    local pid started
    [[ -s $RUN/$1.pid ]] && read -r pid started <"$RUN/$1.pid" &&
        [[ $(process_started "$pid") == "$started" ]]
}

# service_end NAME: asks it to end, then what is left of its descendants, and insists after a while.
service_end() {
    local name=$1
    signal TERM "$(service_alive "$name" && service_pid "$name")"
    wait_until 30 service_dead "$name" || warn "$name does not end on its own, killing it"
    if service_dead "$name"; then
        signal TERM "$(service_processes "$name")"
        wait_until 5 service_gone "$name" || true
    fi
    signal KILL "$(service_processes "$name")"
    wait_until 10 service_gone "$name" || die "$name does not end; see $LOG/$name.log"
    rm -f -- "$RUN/$name.pid"
}

# signal NAME PIDS: PIDS is a list, perhaps empty, of processes that may be gone meanwhile.
signal() {
    local pid
    for pid in $2; do kill -s "$1" "$pid" 2>/dev/null || true; done
}

service_dead() { ! service_alive "$1"; }

# service_processes NAME: the process itself and its descendants, which Erlang puts in sessions of
# their own. The environment of one that changed its user may be unreadable: hence the first line.
service_processes() {
    if service_alive "$1"; then service_pid "$1"; fi
    processes_with "$SERVICE_TAG=$RUN/$1"
    if [[ $1 == rabbitmq ]]; then stray_epmd; fi
}

# service_left NAME: something of it still runs, if only what a killed server left behind.
service_left() { [[ -n $(service_processes "$1") ]]; }
service_gone() { ! service_left "$1"; }

# detach NAME COMMAND...: starts COMMAND in a session of its own that keeps nothing of ours open,
# tagged in its environment, with its output in NAME.log, and notes its pid and start time.
detach() {
    local name=$1 pid started
    shift
    (
        cd "$STATE" || exit
        close_inherited
        export "$SERVICE_TAG=$RUN/$name"
        exec setsid "$@"
    ) </dev/null >>"$LOG/$name.log" 2>&1 &
    pid=$!
    # setsid replaces itself, since a background subshell leads no process group: the pid stays.
    started=$(process_started "$pid") || started=gone
    printf '%s %s\n' "$pid" "$started" >"$RUN/$name.pid"
}

close_inherited() {
    local fd
    for fd in "/proc/$BASHPID/fd"/*; do
        fd=${fd##*/}
        if ((fd > 2)); then eval "exec $fd>&-"; fi
    done
}

# ---- ports

# choose_ports: at the first start only. The search begins at a place that depends on the directory,
# so that two of them rarely want the same ports even while one is stopped.
choose_ports() {
    local base first used offset
    [[ -s $STATE/ports ]] && return
    used=" $(ss -Htln | awk '{ sub(/.*:/, "", $4); printf "%s ", $4 }')"
    first=$(printf '%s' "$STATE" | cksum)
    first=$((21000 + ${first%% *} % 800 * 10))
    for ((offset = 0; offset < 8000; offset += 10)); do
        base=$((21000 + (first - 21000 + offset) % 8000))
        if ports_free "$used" "$base"; then
            cat >"$STATE/ports.new" <<TEXT
PORT_AMQP=$base
PORT_MGMT=$((base + 1))
PORT_DIST=$((base + 2))
PORT_EPMD=$((base + 3))
PORT_MARIADB=$((base + 4))
PORT_SINK=$((base + 5))
TEXT
            mv -- "$STATE/ports.new" "$STATE/ports"
            return
        fi
    done
    die "no ten free ports in a row between 21000 and 28999"
}

ports_free() {
    local port
    for ((port = $2; port < $2 + 10; port++)); do
        [[ $1 != *" $port "* ]] || return 1
    done
}

load_ports() {
    [[ -s $STATE/ports ]] || die "nothing was ever started here: run ./dev up first"
    # shellcheck source=/dev/null
    . "$STATE/ports"
}

# need_port PORT NAME: a clear word when somebody else has taken a recorded port since.
need_port() {
    local holder
    holder=$(ss -Htlnp "sport = :$1")
    [[ -z $holder ]] || die "port $1, which $2 uses here, is taken: $holder
to choose other ports: ./dev down; rm .dev/ports; ./dev up"
}
