#!/usr/bin/env bash
# The rules of the house that a compiler does not know. Prints file:line and the rule for each
# breach, and ends with 1 if there is one. Run from anywhere; ./dev test and ctest run it.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

breaches=0

# report RULE COMMAND...: COMMAND prints file:line:text for each breach of RULE.
report() {
    local rule=$1 found line
    shift
    found=$("$@")
    while IFS= read -r line; do
        [[ -n $line ]] || continue
        printf '%s  [%s]\n' "$line" "$rule"
        breaches=$((breaches + 1))
    done <<<"$found"
}

# in_code REGEX FILE...: file:line:text where REGEX matches outside comments and string literals.
in_code() {
    local regex=$1
    shift
    (($#)) || return 0
    REGEX=$regex awk '
        FNR == 1 { comment = 0 }
        {
            code = $0
            gsub(/\\./, "", code)
            if (comment) {
                if (!sub(/^.*\*\//, "", code)) next
                comment = 0
            }
            gsub(/\047"\047/, "0", code)
            gsub(/"[^"]*"/, "\"\"", code)
            gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, " ", code)
            sub(/\/\/.*/, "", code)
            if (sub(/\/\*.*/, "", code)) comment = 1
            if (code ~ ENVIRON["REGEX"]) printf "%s:%d:%s\n", FILENAME, FNR, $0
        }' "$@"
}

# in_strings REGEX FILE...: file:line:text where REGEX matches within string literals.
in_strings() {
    local regex=$1
    shift
    (($#)) || return 0
    REGEX=$regex awk '
        {
            for (code = $0; match(code, /"([^"\\]|\\.)*"/); code = substr(code, RSTART + RLENGTH))
                if (substr(code, RSTART + 1, RLENGTH - 2) ~ ENVIRON["REGEX"])
                    printf "%s:%d:%s\n", FILENAME, FNR, $0
        }' "$@"
}

# includes REGEX FILE...: file:line:text of #include lines whose file name matches.
includes() {
    local regex=$1
    shift
    (($#)) || return 0
    grep -HnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"](${regex})[>\"]" "$@" || (($? == 1)) # 1: none
}

# sources DIRECTORY...: the C files below, into the array files.
sources() {
    local dir present=()
    for dir in "$@"; do
        if [[ -d $dir ]]; then present+=("$dir"); fi
    done
    files=()
    ((${#present[@]})) || return 0
    mapfile -t files < <(find "${present[@]}" -type f -name '*.[ch]' | sort)
}

# except GLOB...: takes the matching paths out of the array files.
except() {
    local file glob kept=()
    for file in "${files[@]}"; do
        for glob in "$@"; do
            # shellcheck disable=SC2053 # the right side is meant as a pattern
            if [[ $file == $glob ]]; then continue 2; fi
        done
        kept+=("$file")
    done
    files=("${kept[@]}")
}

# Layers: common knows nothing of the programs, and these nothing of one another.
sources common
report "common includes nothing from producer, consumer or console" \
    includes '(\.\./)*(producer|consumer|console)/[^>"]*' "${files[@]}"
for part in producer consumer console; do
    case $part in
    producer) others='consumer|console' ;;
    consumer) others='producer|console' ;;
    console) others='producer|consumer' ;;
    esac
    sources "$part"
    report "producer, consumer and console never include one another" \
        includes "(\\.\\./)*($others)/[^>\"]*" "${files[@]}"
done

# One file per library includes its header.
parts=(common producer consumer console)
sources "${parts[@]}"
except 'common/broker*.c' common/broker_internal.h
report "only common/broker*.c and broker_internal.h include amqp.h" \
    includes '([^>"]*/)?amqp(_[a-z_]+)?\.h' "${files[@]}"
sources "${parts[@]}"
except common/db.c
report "only common/db.c includes mysql.h" \
    includes '([^>"]*/)?(mysql|mysqld_error|errmsg)\.h' "${files[@]}"
sources "${parts[@]}"
except common/config.c
report "only common/config.c includes libconfig.h" \
    includes '([^>"]*/)?libconfig\.h' "${files[@]}"
sources "${parts[@]}"
except common/idn.c
report "only common/idn.c includes idn2.h" \
    includes '([^>"]*/)?idn2\.h' "${files[@]}"
sources "${parts[@]}"
except common/markdown.c
report "only common/markdown.c includes cmark.h" \
    includes '([^>"]*/)?cmark\.h' "${files[@]}"
sources "${parts[@]}"
except common/html_text.c
report "only common/html_text.c includes libxml2" \
    includes '([^>"]*/)?libxml/[^>"]*' "${files[@]}"
sources "${parts[@]}"
except common/http_client.c 'consumer/curl*' 'consumer/transport*' consumer/smtp_conn.h consumer/main.c
report "only common/http_client.c, consumer/curl*, transport*, smtp_conn.h and main.c include curl.h" \
    includes '([^>"]*/)?curl\.h' "${files[@]}"
sources "${parts[@]}"
except '*/json*' '*/chunk*'
report "only files named json* or chunk* include cJSON.h" \
    includes '([^>"]*/)?cJSON\.h' "${files[@]}"

sources "${parts[@]}" tests
report "banned function" \
    in_code '(^|[^A-Za-z0-9_])(strcpy|strcat|sprintf|atoi|strtok|gets)[ \t]*\(' "${files[@]}"

# MySQL 9 has neither, nor has any server what it replaced them by in all versions.
report "MD5(), SHA1() and SHA() are not in all servers: hash with SHA2(), CRC32() or in C" \
    in_strings '(^|[^A-Za-z0-9_])([Mm][Dd]5|[Ss][Hh][Aa]1?)[[:space:]]*\(' "${files[@]}"

for part in producer consumer console; do
    lines=$(wc -l <"$part/main.c")
    if ((lines >= 120)); then
        report "a main.c stays under 120 lines: tests link the library" \
            echo "$part/main.c:$lines: has $lines lines"
    fi
done

if [[ -f README.md ]]; then
    lines=$(wc -l <README.md)
    if ((lines >= 200)); then
        report "README.md stays under 200 lines" echo "README.md:$lines: has $lines lines"
    fi
fi

# Rules of the protocol, each with the tests that fail without it.
protocol=docs/protocol.md

# rules_without_tests: the rules that stand in no row of the table, or in several.
rules_without_tests() {
    local at rule
    while IFS=: read -r at rule; do
        [[ $(grep -c "^| $rule | \`" "$protocol") == 1 ]] || echo "$protocol:$at: $rule"
    done < <(grep -noE '^\*\*[PCOS][0-9]+\.' "$protocol" | tr -d '*.')
}

# tests_that_are_missing: names in the table that no test has, and rows of no rule.
tests_that_are_missing() {
    local at rule name
    while read -r at rule name; do
        grep -qE "^\*\*$rule\." "$protocol" || echo "$protocol:$at: there is no rule $rule"
        grep -rqE "def $name\(self\)|static void $name\(void \*\*" tests/system tests/unit ||
            echo "$protocol:$at: $name"
    done < <(awk '/^\| [PCOS][0-9]+ \|/ {
        rule = $2
        for (row = $0; match(row, /`[^`]+`/); row = substr(row, RSTART + RLENGTH))
            print NR, rule, substr(row, RSTART + 1, RLENGTH - 2)
    }' "$protocol")
}

report "every rule of the protocol has one row of tests" rules_without_tests
report "the tests of the protocol's rules exist" tests_that_are_missing

if ((breaches)); then
    printf 'house: %d breaches\n' "$breaches" >&2
    exit 1
fi
echo "house: clean"
