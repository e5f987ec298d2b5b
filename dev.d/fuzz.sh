# shellcheck shell=bash
# ./dev fuzz: libFuzzer feeds each reader of bytes from outside with what no test thought of. Seeds
# are in tests/fuzz/seeds; what it learns it keeps in .dev/fuzz, and finds stay there as well.

FUZZ_RUNS=20000 # of a target in ./dev test
FUZZ_SECONDS=60

cmd_fuzz() {
    local target=${1-} seconds=${2-$FUZZ_SECONDS} names name
    mapfile -t names < <(fuzz_targets)
    if [[ $target == -h || $target == --help ]]; then
        usage
        return
    fi
    (($# <= 2)) || usage_error "fuzz takes a target and seconds, got '$*'"
    # A number alone is the seconds.
    if (($# == 1)) && [[ $target =~ ^[0-9]+$ ]]; then
        seconds=$target target=
    fi
    [[ $seconds =~ ^[1-9][0-9]{0,5}$ ]] || usage_error "fuzz takes seconds from 1, not '$seconds'"
    if [[ -n $target ]]; then
        [[ " ${names[*]} " == *" $target "* ]] ||
            usage_error "there is no fuzz target '$target'; there are: ${names[*]}"
        names=("$target")
    fi
    cmd_setup
    cmd_build --fuzz
    for name in "${names[@]}"; do
        heading "fuzz: $name, $seconds seconds"
        fuzz_run "$name" -max_total_time="$seconds" ||
            die "fuzz: $name failed; the input is in $STATE/fuzz/finds: mend it and make it a unit test"
    done
}

fuzz_targets() {
    local file
    for file in "$ROOT"/tests/fuzz/fuzz_*.c; do
        file=${file##*/fuzz_}
        [[ $file == shared.c ]] || printf '%s\n' "${file%.c}"
    done
}

# fuzz_run TARGET OPTION...: the corpus grows in .dev/fuzz; the seeds stay as they are.
fuzz_run() {
    local name=$1 corpus=$STATE/fuzz/$1
    shift
    mkdir -p "$corpus" "$STATE/fuzz/finds"
    "$STATE/build-fuzz/tests/fuzz_$name" -artifact_prefix="$STATE/fuzz/finds/$name-" -timeout=20 \
        -max_len=4096 -verbosity=0 "$@" "$corpus" "$ROOT/tests/fuzz/seeds/$name"
}

# fuzz_briefly: each target over its seeds, and as many inputs made of them with a fixed seed.
fuzz_briefly() {
    local name corpus failed=0
    for name in $(fuzz_targets); do
        corpus=$(mktemp -d)
        mkdir -p "$STATE/fuzz/finds"
        if "$STATE/build-fuzz/tests/fuzz_$name" -artifact_prefix="$STATE/fuzz/finds/$name-" -seed=1 \
            -timeout=60 -max_len=4096 -verbosity=0 -runs="$FUZZ_RUNS" "$corpus" \
            "$ROOT/tests/fuzz/seeds/$name" >"$corpus.log" 2>&1; then
            say "fuzz: $name: $FUZZ_RUNS inputs"
        else
            cat "$corpus.log"
            failed=1
        fi
        rm -rf -- "$corpus" "$corpus.log"
    done
    return "$failed"
}
