# SPDX-License-Identifier: Apache-2.0
# Completion of pawl for bash: verbs, options, their values. Paths of the cluster are completed when it
# answers within two seconds.

_pawl_common="--dir --master --provider --fabric-host --timeout --json --verbose --help"
_pawl_verbs="append cat doctor extend get local ls mkdir mv put rm servers stat write"

_pawl_options() { # verb, action of local
    case $1 in
    "") echo "--version" ;;
    put) echo "--record-bytes --chunk-bytes --replicas --depth --progress-file" ;;
    get | cat) echo "--offset --length --server" ;;
    write) echo "--offset" ;;
    append) echo "--lines --record-bytes --producer --ack" ;;
    ls) echo "-l" ;;
    stat) echo "--quick" ;;
    mkdir) echo "-p" ;;
    rm) echo "-r" ;;
    local)
        case $2 in
        start) echo "--servers --reactors --route" ;;
        kill) echo "--signal" ;;
        esac
        ;;
    esac
}

# Paths of the cluster that begin with $1: the entries of the directory that it names so far.
_pawl_paths() {
    local folder=${1%/*}/ name
    while read -r name; do
        echo "$folder$name"
    done < <("${COMP_WORDS[0]}" ${_pawl_where[@]+"${_pawl_where[@]}"} --timeout 2 ls "$folder" 2>/dev/null)
}

_pawl_words() { # words to choose from
    local IFS=$' \t\n'
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current")
}

_pawl_remote() {
    local IFS=$'\n'
    mapfile -t COMPREPLY < <(compgen -W "$(_pawl_paths "$current")" -- "$current")
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != */ ]] || compopt -o nospace 2>/dev/null
}

_pawl_files() {
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
}

# What stands where: the value of an option. False when the word before is no option with a value.
_pawl_value() {
    case $1 in
    --dir)
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        compopt -o filenames 2>/dev/null
        ;;
    --provider) _pawl_words "tcp verbs" ;;
    --route) _pawl_words "auto star chain" ;;
    --signal) _pawl_words "KILL TERM STOP CONT INT HUP ABRT" ;;
    --progress-file) _pawl_files ;;
    --master | --fabric-host | --timeout | --record-bytes | --chunk-bytes | --replicas | --depth | \
        --offset | --length | --server | --producer | --servers | --reactors) COMPREPLY=() ;;
    *) return 1 ;;
    esac
}

# Goes through the words before the cursor: sets verb, action, count (arguments of the verb so far)
# and _pawl_where (the options that say which cluster is meant).
_pawl_scan() {
    local i word
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        --dir | --master | --provider | --fabric-host)
            i=$((i + 1))
            _pawl_where+=("$word" "${COMP_WORDS[i]}")
            ;;
        --timeout | --record-bytes | --chunk-bytes | --replicas | --depth | --progress-file | \
            --offset | --length | --server | --producer | --servers | --reactors | --route | --signal) i=$((i + 1)) ;;
        -*) ;;
        *)
            if [[ -z $verb ]]; then
                verb=$word
            elif [[ $verb == local && -z $action ]]; then
                action=$word
            else
                count=$((count + 1))
            fi
            ;;
        esac
    done
}

_pawl_argument() {
    case $verb in
    "") _pawl_words "$_pawl_verbs" ;;
    local)
        case $action in
        "") _pawl_words "start stop status kill restart" ;;
        kill | restart) [[ $count -gt 0 ]] || _pawl_words "master cs1 cs2 cs3" ;;
        esac
        ;;
    put) if [[ $count -eq 0 ]]; then _pawl_files; else _pawl_remote; fi ;;
    get | append | write) if [[ $count -eq 0 ]]; then _pawl_remote; else _pawl_files; fi ;;
    cat | extend | ls | stat | mkdir | mv | rm) _pawl_remote ;;
    esac
}

_pawl() {
    local current=${COMP_WORDS[COMP_CWORD]} verb="" action="" count=0 _pawl_where=()
    COMPREPLY=()
    if [[ $COMP_CWORD -gt 1 ]] && _pawl_value "${COMP_WORDS[COMP_CWORD - 1]}"; then
        return 0
    fi
    _pawl_scan
    if [[ $current == -* ]]; then
        _pawl_words "$(_pawl_options "$verb" "$action") $_pawl_common"
    else
        _pawl_argument
    fi
}

complete -F _pawl pawl
