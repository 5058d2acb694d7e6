# bash completion for shmctl-client(1)                            -*- shell-script -*-
# SPDX-License-Identifier: MIT
#
# Commands, options and columns are read from --help, so that they are always those of the program.

_shmctl_client_commands() {
    "$1" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'
}

_shmctl_client_options() {
    "$@" --help 2>/dev/null | sed -n 's/^  \(-., \|    \)\(--[a-z-]*\).*/\2/p'
}

_shmctl_client_columns() {
    "$@" --help 2>/dev/null | sed -n '/^Columns/,/^$/s/^  \([^ ]*\) .*/\1/p'
}

# The options that take an argument, as -s|--socket and so on.
_shmctl_client_takes_argument() {
    case $1 in
    -s | -o | --socket | --timeout | --output | --size | --mode | --group | --owner | --key | \
        --ftok | --address | --offset | --length | --lifetime | --ttl | --linger | --count | \
        --rate | --messages | --max-message | --tag | --type-version | --history | --sort | -d | --delay) return 0 ;;
    esac
    return 1
}

# The lines of standard input that begin with what was typed, with `prefix` in front. No compgen -W:
# that would expand a '$', which names may have.
_shmctl_client_reply() {
    local prefix=$1 current=${2//\\/} line
    while IFS= read -r line; do
        [[ $line == "$current"* ]] || continue
        printf -v line %q "$line"
        COMPREPLY+=("$prefix$line")
    done
}

_shmctl_client_compgen() {
    mapfile -t COMPREPLY < <(compgen "$@")
}

# Segments: full names, and the plain ones of the caller's own namespace. A word with a colon
# (key:, id:) is split by readline, and not completed.
_shmctl_client_segments() {
    local socket=("${@:2}") names own
    names=$("$1" "${socket[@]}" --timeout 2 list --noheadings --raw --output NAME 2>/dev/null)
    own=$("$1" "${socket[@]}" --timeout 2 status --noheadings --output NAMESPACE 2>/dev/null)
    [[ -n $names ]] && printf '%s\n' "$names"
    [[ -n $own ]] && sed -n "s,^${own//[.$]/\\&}/,,p" <<<"$names"
}

_shmctl_client_argument() {
    local option=$1 current=$2 program=$3 command=$4
    case $option in
    -s | --socket) _shmctl_client_compgen -f -- "$current" ;;
    --ftok) compopt -o nospace && _shmctl_client_compgen -f -- "$current" ;;
    --owner) _shmctl_client_compgen -u -- "$current" ;;
    --group) _shmctl_client_compgen -g -- "$current" ;;
    --mode) _shmctl_client_compgen -W '0600 0640 0660 0400 0440' -- "$current" ;;
    --history) _shmctl_client_compgen -W 'all none' -- "$current" ;;
    --sort) _shmctl_client_reply '' "$current" < <(_shmctl_client_columns "$program" "$command") ;;
    --lifetime) _shmctl_client_compgen -W 'persistent ephemeral ttl' -- "$current" ;;
    -o | --output)
        local prefix=
        [[ $current == *,* ]] && prefix=${current%,*},
        [[ -z $prefix && $current == +* ]] && prefix=+
        _shmctl_client_reply "$prefix" "${current#"$prefix"}" \
            < <(_shmctl_client_columns "$program" "$command")
        compopt -o nospace
        ;;
    esac
}

_shmctl_client() {
    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]}
    local command='' previous='' word i socket=()
    COMPREPLY=()

    # Readline splits --option=argument at the sign.
    [[ $current == '=' ]] && current=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        [[ $word == '=' ]] && continue
        if _shmctl_client_takes_argument "$previous"; then
            [[ $previous == -s || $previous == --socket ]] && socket=(--socket "$word")
            word=
        elif [[ $word == -- ]]; then
            # What follows is a command of its own.
            if ((i + 1 == COMP_CWORD)); then
                _shmctl_client_compgen -c -- "$current"
            else
                _shmctl_client_compgen -f -- "$current"
            fi
            return
        elif [[ -z $command && $word != -* ]]; then
            command=$word
        fi
        previous=$word
    done

    if _shmctl_client_takes_argument "$previous"; then
        _shmctl_client_argument "$previous" "$current" "$program" "$command"
    elif [[ $current == -* ]]; then
        _shmctl_client_reply '' "$current" \
            < <(_shmctl_client_options "$program" ${command:+"$command"})
    elif [[ -z $command ]]; then
        _shmctl_client_reply '' "$current" < <(_shmctl_client_commands "$program")
    else
        case $command in
        open | attach | stat | set | rm | who | watch | write | read | dump | pub | sub | top)
            _shmctl_client_reply '' "$current" \
                < <(_shmctl_client_segments "$program" "${socket[@]}")
            ;;
        esac
    fi
}

complete -F _shmctl_client shmctl-client
