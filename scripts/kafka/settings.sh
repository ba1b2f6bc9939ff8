# Shared by up, down, status and env: where a broker lives, and how to ask whether it runs.
#
# Layout of a run directory (default target/kafka/run), all of it removed by `down`:
#   server.properties   written by the first `up`; its first line marks the directory as ours
#   env                 KEY=VALUE lines that say how to reach the broker
#   pid, broker.log     of the running process
#   data/               Kafka's log.dirs
# Shared between run directories, kept for the next time: target/kafka/libs-* (jars), target/kafka/tls-* (certificates).

repo_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kafka_cache=${CARGO_TARGET_DIR:-$repo_dir/target}/kafka
run_dir=$kafka_cache/run
marker='# kstream: a broker started by scripts/kafka/up'

die() {
    printf 'error: %s\n' "$1" >&2
    if [ $# -gt 1 ]; then printf '  hint: %s\n' "$2" >&2; fi
    exit "${3:-1}"
}

# Whether the process in the pid file is the broker of this run directory (and not a later process of the same number).
is_running() {
    [ -s "$run_dir/pid" ] || return 1
    local pid
    pid=$(cat "$run_dir/pid")
    kill -0 "$pid" 2>/dev/null || return 1
    ps -o args= -p "$pid" 2>/dev/null | grep -qF "kafka.Kafka $run_dir/server.properties"
}

accepts() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Takes --dir out of the arguments of the caller; leaves the others in the array `rest`.
take_dir() {
    rest=()
    while [ $# -gt 0 ]; do
        case $1 in
            --dir) [ $# -gt 1 ] || die "--dir needs a directory" "" 2
                   run_dir=$2; shift 2 ;;
            *) rest+=("$1"); shift ;;
        esac
    done
    case $run_dir in /*) ;; *) run_dir=$PWD/$run_dir ;; esac
}
