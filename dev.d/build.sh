# shellcheck shell=bash
# ./dev build: configures and compiles with CMake.

cmd_build() {
    case $# in
    0) with_lock build build_into build ;;
    1)
        [[ $1 == --asan ]] || usage_error "build knows only --asan, got '$1'"
        with_lock build build_into build-asan -DMAILFLOCK_SANITIZE=address,undefined
        ;;
    *) usage_error "build takes at most one argument" ;;
    esac
}

# build_into NAME [CMAKE_OPTION...]
build_into() {
    local dir=$STATE/$1
    shift
    cmake -S "$ROOT" -B "$dir" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_COMPILE_WARNING_AS_ERROR=ON "$@"
    cmake --build "$dir" -j "$(nproc)"
}
