# shellcheck shell=bash
# ./dev test: everything that must hold. Style comes first since it fails fastest; what cannot go
# on without a step that failed ends there, all other failures are collected and listed at the end.

FAILED=()
SKIPPED=()

cmd_test() {
    local services_were_up=0
    if (($# > 1)) || [[ ${1---tsan} != --tsan ]]; then usage_error "test knows --tsan, got '$*'"; fi
    cmd_setup
    if any_service service_alive; then services_were_up=1; fi
    ((services_were_up)) || trap cmd_down EXIT
    end_after_current_command

    if [[ ${1-} == --tsan ]]; then
        test_tsan
    else
        test_all
    fi
    if ((${#SKIPPED[@]})); then
        heading "skipped"
        printf '  %s\n' "${SKIPPED[@]}"
    fi
    if ((${#FAILED[@]})); then
        heading "FAILED"
        printf '  %s\n' "${FAILED[@]}"
        exit 1
    fi
    heading "all checks and tests passed"
}

test_all() {
    local campaign
    check "shell scripts (shellcheck)" check_shell
    check "formatting (clang-format)" check_format
    check "house rules (tests/house.sh)" "$ROOT/tests/house.sh"
    heading build
    cmd_build
    heading up
    cmd_up
    heading "build the variants for tests: clang, fault points, sanitizers, fuzz targets"
    cmd_build --clang
    cmd_build --faults
    cmd_build --asan
    cmd_build --tsan
    cmd_build --fuzz
    check "unit tests" unit_tests build
    note_skipped build
    check "system tests and the rest" system_tests build
    note_skipped build
    check "unit tests under sanitizers" unit_tests build-asan
    note_skipped build-asan
    check "fuzz targets" fuzz_briefly
    for campaign in "${!DEMO_CAMPAIGNS[@]}"; do
        check "demo: $campaign" "$ROOT/dev" demo --campaign "$campaign" --recipients 1000
    done
}

# test_tsan: the consumer's system tests with ThreadSanitizer watching it; one short one is among
# the tests of test_all too.
test_tsan() {
    heading build
    cmd_build
    cmd_build --tsan
    heading up
    cmd_up
    check "system tests under ThreadSanitizer" watched_tests
}

heading() { printf '\n== %s\n' "$*"; }

check() {
    local title=$1
    shift
    heading "$title"
    "$@" || FAILED+=("$title")
}

# unit_tests BUILD: they need no services, and none of our settings may be in their environment.
unit_tests() {
    # shellcheck disable=SC2086 # a list of names
    (unset ${!MAILFLOCK_@} && run_ctest "$1" -L unit)
}

# system_tests BUILD: all others, with the services of ./dev up; some at a time, since they mostly wait.
system_tests() {
    # shellcheck source=/dev/null
    (. "$STATE/env" && MF_BUILD=$STATE/$1 MF_BUILD_FAULTS=$STATE/build-faults \
        MF_BUILD_TSAN=$STATE/build-tsan run_ctest "$1" -LE unit -j "$(($(nproc) + 2))")
}

watched_tests() {
    # shellcheck source=/dev/null
    (. "$STATE/env" && cd "$ROOT/tests/system" && MF_BUILD=$STATE/build \
        MF_BUILD_TSAN=$STATE/build-tsan "$PYTHON" test_tsan.py --all)
}

run_ctest() {
    local dir=$STATE/$1
    shift
    ctest --test-dir "$dir" --output-on-failure --no-tests=error "$@" </dev/null
}

# note_skipped BUILD: what the last run_ctest left out, with the reasons as the tests gave them.
note_skipped() {
    local lines
    mapfile -t lines < <(grep -hE '\.\.\. skipped |^skipped: |\[ +SKIPPED +\]' \
        "$STATE/$1/Testing/Temporary/LastTest.log" | sort -u)
    SKIPPED+=("${lines[@]}")
}

check_shell() {
    local scripts
    mapfile -t scripts < <(source_files '*.sh' .ci/run)
    # dev sources dev.d/*.sh: -x follows them.
    (cd "$ROOT" && shellcheck -x dev "${scripts[@]}") && say "$((${#scripts[@]} + 1)) scripts are clean"
}

check_format() {
    local sources
    mapfile -t sources < <(source_files '*.c' '*.h')
    ((${#sources[@]})) || return 0
    (cd "$ROOT" && clang-format --dry-run -Werror "${sources[@]}") && say "${#sources[@]} files are clean"
}

# source_files PATTERN...: the tracked files that match; all files that match where git cannot say.
source_files() {
    local pattern names=()
    cd "$ROOT" || return
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        # Tracked but deleted in the working tree is no file to check.
        comm -23 <(git ls-files -- "$@" | sort -u) <(git ls-files --deleted -- "$@" | sort -u)
        return
    fi
    for pattern in "$@"; do names+=(-o -path "./$pattern"); done
    find . -path ./.dev -prune -o -type f \( "${names[@]:1}" \) -print | sed 's,^\./,,' | sort
}
