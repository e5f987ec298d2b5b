# shellcheck shell=bash
# What the private services are: RabbitMQ (with the epmd it starts), MariaDB, and Postfix's
# smtp-sink, all bound to 127.0.0.1 with all state in .dev/; and .dev/env, which says where they are.

RABBITMQ_BIN=/usr/lib/rabbitmq/bin # /usr/sbin/rabbitmqctl is a wrapper that wants root

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
    local home=$STATE/mariadb as=() socket options
    need_port "$PORT_MARIADB" mariadb
    socket=$(mariadb_socket)
    mkdir -p "$home/tmp" "$(dirname -- "$socket")"
    if ((EUID == 0)); then as=(--user=root); fi
    if [[ ! -e $home/installed ]]; then
        rm -rf -- "$home/data"
        mariadb-install-db --no-defaults "${as[@]}" --datadir="$home/data" --tmpdir="$home/tmp" \
            --skip-test-db \
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
    read -ra options <<<"${MF_MARIADB_OPTIONS-}" # of tests that want another server
    detach mariadb mariadbd --no-defaults "${as[@]}" --datadir="$home/data" --socket="$socket" \
        --port="$PORT_MARIADB" --bind-address=127.0.0.1 --pid-file="$home/pid" --tmpdir="$home/tmp" \
        --init-file="$home/init.sql" --skip-name-resolve --skip-log-bin \
        --character-set-server=utf8mb4 --max-connections=300 \
        --innodb-buffer-pool-size=256M --innodb-flush-log-at-trx-commit=1 "${options[@]}"
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
    printf '#!/bin/bash\nMF_STATE=%q exec %q rabbitmqctl "$@"\n' "$STATE" "$ROOT/dev" >"$STATE/bin/rabbitmqctl"
    chmod 755 "$STATE/bin/rabbitmqctl"
}
