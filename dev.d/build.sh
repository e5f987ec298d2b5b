# shellcheck shell=bash
# ./dev build: configures and compiles with CMake. Each variant has a directory of its own.

cmd_build() {
    (($# <= 1)) || usage_error "build takes at most one argument"
    case ${1-} in
    '') with_lock build build_into build all ;;
    --asan) with_lock build build_into build-asan units -DMAILFLOCK_SANITIZE=address,undefined ;;
    --tsan) with_lock build build_into build-tsan mailflock-consumer -DMAILFLOCK_SANITIZE=thread ;;
    --clang) with_lock build build_into build-clang all -DCMAKE_C_COMPILER=clang ;;
    --faults) with_lock build build_into build-faults with_faults -DMAILFLOCK_FAULTS=ON ;;
    --fuzz)
        with_lock build build_into build-fuzz fuzzers -DCMAKE_C_COMPILER=clang -DMAILFLOCK_FUZZ=ON \
            -DMAILFLOCK_SANITIZE=address,undefined
        ;;
    *) usage_error "build knows --asan, --tsan, --faults, --clang and --fuzz, got '$1'" ;;
    esac
}

# build_into NAME TARGET [CMAKE_OPTION...]
build_into() {
    local dir=$STATE/$1 target=$2
    shift 2
    cmake -S "$ROOT" -B "$dir" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_COMPILE_WARNING_AS_ERROR=ON "$@"
    cmake --build "$dir" -j "$(nproc)" --target "$target"
}
