# shellcheck shell=bash
# ./dev model: the protocol's model in its large bounds. It needs nothing but Python.

cmd_model() {
    case ${1-} in
    '') exec nice "$PYTHON" "$ROOT/tests/model/check.py" large ;;
    -h | --help) usage ;;
    *)
        (($# == 1)) || usage_error "model takes one rule, got '$*'"
        exec "$PYTHON" "$ROOT/tests/model/check.py" show "$1"
        ;;
    esac
}
