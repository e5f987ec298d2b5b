# shellcheck shell=bash
# ./dev setup: Debian packages, and nothing left running or enabled by them.

PACKAGES=(
    build-essential gcc clang libclang-rt-14-dev cmake pkg-config clang-format shellcheck
    librabbitmq-dev libcurl4-openssl-dev libmariadb-dev libmariadb-dev-compat libcjson-dev
    libconfig-dev libcmocka-dev libmicrohttpd-dev libidn2-dev libcmark-dev libxml2-dev
    rabbitmq-server mariadb-server-core mariadb-client postfix
    python3 python3-aiosmtpd python3-pymysql python3-pika python3-croniter
    python3-pystache
    curl openssl ca-certificates git iproute2 procps tzdata util-linux
)
POLICY=/usr/sbin/policy-rc.d
POLICY_SAVED=$POLICY.saved-by-mailflock-dev
POLICY_MARK='mailflock ./dev setup'

missing_packages() {
    local name
    for name in "${PACKAGES[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
    done
}

# missing_tools: for systems without apt-get, what of the needed programs, libraries and modules is absent.
missing_tools() {
    local name
    for name in cc clang cmake make pkg-config clang-format shellcheck curl openssl git ss ps \
        mariadbd mariadb-install-db mariadb smtp-sink epmd erl "$RABBITMQ_BIN/rabbitmq-server" "$PYTHON"; do
        command -v "$name" >/dev/null || echo "$name"
    done
    for name in librabbitmq libcurl libmariadb libcjson libconfig cmocka libmicrohttpd libidn2 libcmark libxml-2.0; do
        pkg-config --exists "$name" 2>/dev/null || echo "$name (development files)"
    done
    [[ -r /usr/share/zoneinfo/UTC ]] || echo "the zone database (tzdata)"
    for name in aiosmtpd pymysql pika croniter; do
        "$PYTHON" -c "import $name" 2>/dev/null || echo "$name (module of $PYTHON)"
    done
}

cmd_setup() {
    local missing
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        missing=$(missing_tools)
        [[ -z $missing ]] || die "this is not Debian; install the equivalent of these packages of Debian 12:
  ${PACKAGES[*]}
not found here:
$missing"
        say "setup: not Debian, but all tools are there"
        return
    fi
    if [[ -z $(missing_packages) ]]; then
        say "setup: all packages are installed"
        return
    fi
    end_after_current_command
    # One installation at a time on this machine, since the policy below is the machine's.
    (
        flock 8
        install_missing
    ) 8</var/lib/dpkg
    say "setup: done"
}

# install_missing: runs in a subshell of its own, whose trap puts back what it changed.
# Debian starts and enables a service when its package is installed; ours are started by ./dev up
# only, so a policy forbids the start meanwhile, and what the new packages enabled is disabled.
install_missing() {
    local missing apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300
        -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    say "setup: installing ${missing[*]}"
    as_root true || die "installing packages needs root"
    end_after_current_command
    PACKAGES_BEFORE=$(known_packages) # global: the trap runs when this function's locals are gone
    trap setup_undo EXIT
    policy_forbid
    as_root "${apt[@]}" update || warn "apt-get update failed; trying with the package lists at hand"
    if [[ " ${missing[*]} " == *' postfix '* ]]; then
        wait_until 300 preseed_postfix || die "debconf is busy: another installation is running"
    fi
    as_root "${apt[@]}" install --no-install-recommends "${missing[@]}" </dev/null ||
        die "apt-get could not install the packages (see above)"
}

preseed_postfix() {
    echo 'postfix postfix/main_mailer_type select No configuration' | as_root debconf-set-selections
}

setup_undo() {
    disable_new_services "$PACKAGES_BEFORE"
    policy_restore
}

known_packages() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | awk '$1 != "not-installed" && $1 != "config-files" { print $2 }' | sort -u; }

policy_forbid() {
    policy_restore # left by a run that was killed
    if [[ -e $POLICY || -L $POLICY ]]; then
        as_root mv -- "$POLICY" "$POLICY_SAVED"
    fi
    printf '#!/bin/sh\n# %s: temporary, start no service\nexit 101\n' "$POLICY_MARK" |
        as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

policy_restore() {
    if [[ -e $POLICY_SAVED || -L $POLICY_SAVED ]]; then
        as_root mv -f -- "$POLICY_SAVED" "$POLICY"
    elif [[ -f $POLICY ]] && grep -qF "$POLICY_MARK" "$POLICY"; then
        as_root rm -f -- "$POLICY"
    fi
}

# disable_new_services BEFORE: BEFORE is what known_packages said before the installation.
disable_new_services() {
    local packages files units name scripts=()
    mapfile -t packages < <(comm -13 <(echo "$1") <(known_packages))
    ((${#packages[@]})) || return 0
    files=$(dpkg -L "${packages[@]}" 2>/dev/null || true)
    mapfile -t units < <(sed -nE 's,^(/usr)?/lib/systemd/system/([^/@]+(@[^/]+)?\.(service|socket|timer|path))$,\2,p' <<<"$files" | sort -u)
    # What has no start link for a normal runlevel is no service (procps sets kernel parameters).
    while IFS= read -r name; do
        if compgen -G "/etc/rc[2-5].d/S??$name" >/dev/null; then scripts+=("$name"); fi
    done < <(sed -nE 's,^/etc/init\.d/([^/]+)$,\1,p' <<<"$files" | sort -u)
    for name in "${units[@]}"; do
        if [[ -d /run/systemd/system ]]; then
            as_root systemctl --quiet disable --now "$name"
        else
            # It works without systemd, but wants to be called by a maintainer script.
            as_root env DPKG_MAINTSCRIPT_PACKAGE=mailflock-dev deb-systemd-helper --quiet disable "$name"
        fi || warn "could not disable $name"
    done
    for name in "${scripts[@]}"; do
        as_root update-rc.d "$name" disable || warn "could not disable $name"
    done
    ((${#units[@]} + ${#scripts[@]} == 0)) || say "setup: left disabled: ${units[*]} ${scripts[*]}"
}
