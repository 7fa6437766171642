# SPDX-License-Identifier: Apache-2.0
# Completion of pawl-perf for bash: verbs, options, their values.

_pawl_perf_common="--repeat --cluster --dir --servers --provider --route --timeout --keep --json --help"
_pawl_perf_verbs="append failover meta mixed push read report roofline write"

_pawl_perf_options() { # verb
    local times="--duration --warm-up" load="--depth --clients --threads --rate" loops
    loops="$load --ops --settle"
    local appends="--bytes --replicas --chunk-bytes" files="--files --file-bytes --record-bytes"
    case $1 in
    "") echo "--version" ;;
    append) echo "$times $loops $appends --ack --files --roofline --duties --unregistered" ;;
    read) echo "$times $loops $appends $files --roofline --unregistered" ;;
    write) echo "$times $loops $appends $files --unregistered" ;;
    roofline)
        echo "--read --bytes --depth --clients --replicas --route --flush --sources --disk-reads --memory --duty --duration --warm-up --batch --wait --slice" \
            "--rate --records --verify --deadline --file-bytes --dir --provider --host --check --json --help"
        ;;
    mixed) echo "$times $loops $appends --ack $files --mix --unregistered" ;;
    meta) echo "$times $loops" ;;
    push) echo "$times $loops --bytes --replicas --chunk-bytes --files --unregistered" ;;
    failover) echo "$times $load $appends --ack --files" ;;
    report) echo "$times --settle --suite --output --roofline" ;;
    esac
}

_pawl_perf() {
    local current=${COMP_WORDS[COMP_CWORD]} before="" verb="" words=""
    COMPREPLY=()
    if [[ $COMP_CWORD -gt 1 ]]; then
        verb=${COMP_WORDS[1]}
        before=${COMP_WORDS[COMP_CWORD - 1]}
    fi
    case $before in
    --cluster | --dir)
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        compopt -o filenames 2>/dev/null
        return 0
        ;;
    --output)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
        return 0
        ;;
    --provider) words="tcp verbs" ;;
    --ack) words="durable replicated" ;;
    --suite) words="quick reference gfs targets" ;;
    --route)
        words="star chain"
        [[ $verb == roofline ]] || words="auto $words"
        ;;
    --rate) words="half" ;;
    --duty) words="checksum table second-write all" ;;
    --flush) words="fdatasync dsync shared shared-dsync" ;;
    --wait) words="sleep spin yield" ;;
    --bytes | --depth | --clients | --threads | --files | --replicas | --duration | --warm-up | --ops | --mix | \
        --file-bytes | --record-bytes | --chunk-bytes | --repeat | --settle | --servers | --timeout | \
        --batch | --slice | --sources | --disk-reads | --records | --deadline | --host) return 0 ;;
    *)
        if [[ $current == -* ]]; then
            words=$(_pawl_perf_options "$verb")
            [[ $verb == roofline ]] || words="$words $_pawl_perf_common"
        elif [[ $COMP_CWORD -eq 1 ]]; then
            words=$_pawl_perf_verbs
        fi
        ;;
    esac
    local IFS=$' \t\n'
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _pawl_perf pawl-perf
