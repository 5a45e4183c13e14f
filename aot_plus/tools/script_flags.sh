# shellcheck shell=bash
# Sourced by the scripts: flags that set variables.
#
#     OPTIONS="model stage"           # --model M sets MODEL, --stage S or --stage=S sets STAGE
#     parse_flags "$@"                # what follows -- is left in the array EXTRA
#
# The script has a function usage, which --help calls.

usage_error() {
    say "error: $1"
    say "$0 --help lists the flags"
    exit 2
}

# shellcheck disable=SC2034  # EXTRA is the script's
parse_flags() {
    local flag name value
    while [ $# -gt 0 ]; do
        flag="$1"
        shift
        case "$flag" in
            -h | --help) usage && exit 0 ;;
            --) EXTRA=("$@") && return ;;
            --*) ;;
            *) usage_error "unknown argument $flag" ;;
        esac
        name="${flag#--}"
        name="${name%%=*}"
        case " $OPTIONS " in
            *" $name "*) ;;
            *) usage_error "unknown flag --$name" ;;
        esac
        case "$flag" in
            *=*) value="${flag#*=}" ;;
            *)
                value="${1:-}"
                [ $# -eq 0 ] || shift
                ;;
        esac
        [ -n "$value" ] || usage_error "--$name needs a value"
        printf -v "$(printf %s "$name" | tr '[:lower:]' '[:upper:]')" %s "$value"
    done
}
