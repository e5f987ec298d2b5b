# shellcheck shell=bash
# ./dev relays: the consumer against relays that misbehave at random, with other seeds than those of
# ./dev test.

cmd_relays() {
    local count=400 seed=''
    while (($#)); do
        case $1 in
        -h | --help)
            usage
            return
            ;;
        --seed)
            seed=${2-}
            [[ $seed =~ ^[0-9]{1,18}$ ]] || usage_error "relays: --seed takes a number, not '$seed'"
            shift
            ;;
        *)
            count=$1
            [[ $count =~ ^[1-9][0-9]{0,6}$ ]] || usage_error "relays takes the number of seeds, not '$1'"
            ;;
        esac
        shift
    done
    cmd_setup
    cmd_build
    cmd_up
    # shellcheck source=/dev/null
    . "$STATE/env"
    if [[ -n $seed ]]; then
        export MF_RELAY_SEED=$seed
    else
        export MF_RELAY_SEEDS=$count
    fi
    cd "$ROOT/tests/system" && MF_BUILD=$STATE/build exec "$PYTHON" test_random_relay.py
}
