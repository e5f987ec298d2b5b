# shellcheck shell=bash
# The private services: RabbitMQ (with the epmd it starts), MariaDB, and Postfix's smtp-sink.
# Each is a session of its own, detached from the terminal, known by pid and start time, and bound
# to 127.0.0.1. Ports are chosen once per checkout and kept in .dev/ports.

RABBITMQ_BIN=/usr/lib/rabbitmq/bin # /usr/sbin/rabbitmqctl is a wrapper that wants root
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
    cmd_down
    if [[ -s $STATE/socket-dir ]]; then
        rm -rf -- "$(<"$STATE/socket-dir")"
    fi
    rm -rf -- "$STATE"
    say "clean: .dev is gone"
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
    service_status "$name"
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
    wait_until 60 service_settled "$name" && service_alive "$name" && return
    tail -n 20 "$LOG/$name.log" >&2 || true
    if service_alive "$name"; then
        die "$name did not become ready within 60 s; see $LOG/$name.log"
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

# choose_ports: at the first start only. The search begins at a place that depends on the checkout,
# so that two of them rarely want the same ports even while one is stopped.
choose_ports() {
    local base first used offset
    [[ -s $STATE/ports ]] && return
    used=" $(ss -Htln | awk '{ sub(/.*:/, "", $4); printf "%s ", $4 }')"
    first=$(printf '%s' "$ROOT" | cksum)
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

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ---- RabbitMQ

start_rabbitmq() {
    local home=$STATE/rabbitmq port
    for port in "$PORT_AMQP" "$PORT_MGMT" "$PORT_DIST"; do need_port "$port" rabbitmq; done
    # The node starts an epmd of its own, which outlives it when it is killed and is then used again.
    if service_gone rabbitmq; then need_port "$PORT_EPMD" "rabbitmq's epmd"; fi
    mkdir -p "$home/conf.d"
    write_rabbitmq_config "$home"
    (
        rabbitmq_environment
        unset NOTIFY_SOCKET
        # It makes the start script become the server, so that the pid is the server's.
        export RUNNING_UNDER_SYSTEMD=true
        detach rabbitmq "$RABBITMQ_BIN/rabbitmq-server"
    )
}

ready_rabbitmq() {
    answers "$PORT_AMQP" && curl -fsS --noproxy '*' -m 5 -u mailflock:mailflock \
        "http://127.0.0.1:$PORT_MGMT/api/vhosts/mailflock"
}

# stray_epmd: rabbitmqctl starts an epmd when the node is down, with .dev/env in its environment.
stray_epmd() {
    local pid
    for pid in $(processes_with "RABBITMQ_CONF_ENV_FILE=$STATE/rabbitmq/rabbitmq-env.conf"); do
        if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == epmd ]]; then printf '%s\n' "$pid"; fi
    done
}

# rabbitmq_environment: what the server and its tools need to be the private node and to leave
# /etc/rabbitmq, /var/lib/rabbitmq and the caller's home alone.
rabbitmq_environment() {
    local home=$STATE/rabbitmq name
    for name in "${!RABBITMQ_@}"; do
        [[ $name == RABBITMQ_BIN ]] || unset "$name"
    done
    export HOME=$home
    export RABBITMQ_NODENAME=mailflock@localhost RABBITMQ_USE_LONGNAME=false
    export RABBITMQ_MNESIA_BASE=$home/data RABBITMQ_LOG_BASE=$LOG/rabbitmq
    export RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf RABBITMQ_CONFIG_FILES=$home/conf.d
    export RABBITMQ_ADVANCED_CONFIG_FILE=$home/advanced.config
    export RABBITMQ_CONF_ENV_FILE=$home/rabbitmq-env.conf
    export RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins
    export RABBITMQ_PID_FILE=$home/pid RABBITMQ_DIST_PORT=$PORT_DIST
    export ERL_EPMD_PORT=$PORT_EPMD ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP=$LOG/erl_crash.dump
    # Loopback only.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
    export RABBITMQ_CTL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
}

# rabbitmq_cookie: the secret of the private node, made at the first call.
rabbitmq_cookie() {
    local file=$STATE/rabbitmq/.erlang.cookie
    if [[ ! -s $file ]]; then
        mkdir -p "${file%/*}"
        (umask 077 && openssl rand -hex 20 | tr -d '\n' >"$file")
        chmod 400 "$file"
    fi
    cat -- "$file"
}

write_rabbitmq_config() {
    local home=$1
    rabbitmq_cookie >/dev/null
    : >"$home/rabbitmq-env.conf"
    echo '[].' >"$home/advanced.config"
    echo '[rabbitmq_management].' >"$home/enabled_plugins"
    cat >"$home/rabbitmq.conf" <<TEXT
listeners.tcp.1 = 127.0.0.1:$PORT_AMQP
management.tcp.ip = 127.0.0.1
management.tcp.port = $PORT_MGMT
loopback_users = none
load_definitions = $home/definitions.json
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 67108864
log.file.level = info
TEXT
    cat >"$home/definitions.json" <<'TEXT'
{
  "users": [{"name": "mailflock", "password": "mailflock", "tags": "administrator"}],
  "vhosts": [{"name": "/"}, {"name": "mailflock"}],
  "permissions": [
    {"user": "mailflock", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "mailflock", "vhost": "mailflock", "configure": ".*", "write": ".*", "read": ".*"}
  ]
}
TEXT
}

# ---- MariaDB

start_mariadb() {
    local home=$STATE/mariadb as=() socket
    need_port "$PORT_MARIADB" mariadb
    socket=$(mariadb_socket)
    mkdir -p "$home/tmp" "$(dirname -- "$socket")"
    if ((EUID == 0)); then as=(--user=root); fi
    if [[ ! -e $home/installed ]]; then
        rm -rf -- "$home/data"
        mariadb-install-db --no-defaults "${as[@]}" --datadir="$home/data" --skip-test-db \
            --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" \
            >"$LOG/mariadb-install.log" 2>&1 ||
            die "mariadb-install-db failed; see $LOG/mariadb-install.log"
        : >"$home/installed"
    fi
    cat >"$home/init.sql" <<'TEXT'
CREATE DATABASE IF NOT EXISTS mailflock CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS mailflock@'127.0.0.1' IDENTIFIED BY 'mailflock';
CREATE USER IF NOT EXISTS mailflock@localhost IDENTIFIED BY 'mailflock';
GRANT ALL PRIVILEGES ON `mailflock%`.* TO mailflock@'127.0.0.1';
GRANT ALL PRIVILEGES ON `mailflock%`.* TO mailflock@localhost;
TEXT
    detach mariadb mariadbd --no-defaults "${as[@]}" --datadir="$home/data" --socket="$socket" \
        --port="$PORT_MARIADB" --bind-address=127.0.0.1 --pid-file="$home/pid" --tmpdir="$home/tmp" \
        --init-file="$home/init.sql" --skip-name-resolve --skip-log-bin \
        --character-set-server=utf8mb4 --max-connections=300 \
        --innodb-buffer-pool-size=256M --innodb-flush-log-at-trx-commit=1
}

ready_mariadb() {
    mariadb --no-defaults --protocol=tcp -h 127.0.0.1 -P "$PORT_MARIADB" -u mailflock -pmailflock \
        --connect-timeout=5 -e 'SELECT 1' mailflock
}

# mariadb_socket: the path, which the kernel limits to 107 bytes; a deep checkout gets one elsewhere.
mariadb_socket() {
    local socket=$RUN/mariadb.sock dir
    if ((${#socket} > 107)); then
        if [[ ! -s $STATE/socket-dir ]] || [[ ! -d $(<"$STATE/socket-dir") ]]; then
            dir=$(mktemp -d "${TMPDIR:-/tmp}/mailflock.XXXXXX")
            printf '%s\n' "$dir" >"$STATE/socket-dir"
        fi
        socket=$(<"$STATE/socket-dir")/mariadb.sock
    fi
    printf '%s\n' "$socket"
}

# ---- the SMTP sink

start_sink() {
    local as=()
    need_port "$PORT_SINK" sink
    if ((EUID == 0)); then as=(-u postfix); fi
    detach sink smtp-sink "${as[@]}" "127.0.0.1:$PORT_SINK" 1000
}

ready_sink() {
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$PORT_SINK" && read -r -t 5 line <&3 && exec 3>&- && [[ $line == 220* ]]
}

# ---- .dev/env

write_env() {
    cat >"$STATE/env.new" <<TEXT
# Written by ./dev up: where the private services are. Source it.
export MAILFLOCK_BROKER_HOST=127.0.0.1
export MAILFLOCK_BROKER_PORT=$PORT_AMQP
export MAILFLOCK_BROKER_VHOST=mailflock
export MAILFLOCK_BROKER_USER=mailflock
export MAILFLOCK_BROKER_PASSWORD=mailflock
export MAILFLOCK_DATABASE_HOST=127.0.0.1
export MAILFLOCK_DATABASE_PORT=$PORT_MARIADB
export MAILFLOCK_DATABASE_NAME=mailflock
export MAILFLOCK_DATABASE_USER=mailflock
export MAILFLOCK_DATABASE_PASSWORD=mailflock
export MAILFLOCK_TRANSPORTS_RELAY_URL=smtp://127.0.0.1:$PORT_SINK
export MF_ROOT=$(printf %q "$ROOT")
export MF_BUILD=$(printf %q "$STATE/build")
export MF_PYTHON=$PYTHON
export MF_MGMT_URL=http://127.0.0.1:$PORT_MGMT
export MF_SINK_PORT=$PORT_SINK
export MF_DB_SOCKET=$(printf %q "$(mariadb_socket)")
export MF_RABBITMQCTL=$(printf %q "$STATE/bin/rabbitmqctl")
export RABBITMQ_NODENAME=mailflock@localhost
export RABBITMQ_USE_LONGNAME=false
export RABBITMQ_CONF_ENV_FILE=$(printf %q "$STATE/rabbitmq/rabbitmq-env.conf")
export RABBITMQ_ERLANG_COOKIE=$(rabbitmq_cookie)
export ERL_EPMD_PORT=$PORT_EPMD
export ERL_EPMD_ADDRESS=127.0.0.1
TEXT
    chmod 600 "$STATE/env.new"
    mv -- "$STATE/env.new" "$STATE/env"
    mkdir -p "$STATE/bin"
    printf '#!/bin/bash\nexec %q rabbitmqctl "$@"\n' "$ROOT/dev" >"$STATE/bin/rabbitmqctl"
    chmod 755 "$STATE/bin/rabbitmqctl"
}
